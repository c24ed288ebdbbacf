"""A managed node that logs what goes wrong in a transition, and that no request can end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from zmask_ros.node.device_errors import error_sentence

ACTIVE = "active"


class ManagedNode(LifecycleNode):
    """A lifecycle node whose subclasses say what each transition does, in `configure` to `cleanup`.

    rclpy swallows what a transition raises; here it is logged and the transition fails: back to where it came from
    when configuring or activating, to unconfigured otherwise. A request that is not possible in the present state is
    answered with failure and a warning; rclpy of Jazzy would end the process, that of Kilted warns in words of its own.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._error: Exception | None = None
        self._starting = False
        change = self._service_change_state.callback
        self._service_change_state.callback = lambda request, response: self._guarded(change, request, response)

    def configure(self) -> None:
        """Load what takes long; what was begun when this raises is undone by `cleanup`."""
        raise NotImplementedError

    def activate(self) -> None:
        """Begin to work; what was begun when this raises is undone by `deactivate`."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """Stop working; nothing is freed."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """Free everything; called in any state, also twice."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """Label of the present state, such as active."""
        label: str = self._state_machine.current_state[1]
        return label

    def start(self) -> None:
        """Configure and activate.

        Raises:
            Exception: what one of the two raised; it is not logged as well.
        """
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                assert self._error is not None
                raise self._error
        self._starting = False

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; what has failed is cleaned up."""
        return self._transition("configure", self.configure, self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; what has failed is deactivated."""
        return self._transition("activate", self.activate, self.deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        return self._transition("deactivate", self.deactivate, ended="deactivated")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up."""
        return self._transition("clean up", self.cleanup, ended="cleaned up")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up for good."""
        return self._transition("shut down", self.cleanup, ended="shut down")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up after a transition that failed and could not be undone."""
        return self._transition("recover from the error", self.cleanup)

    def _transition(
        self, name: str, work: Callable[[], None], undo: Callable[[], None] | None = None, ended: str = ""
    ) -> TransitionCallbackReturn:
        """Do ``work``; ``undo`` it where it fails; warn that the node no longer works where it has ``ended``."""
        try:
            work()
        except Exception as error:
            self._error = error
            if not self._starting:
                self.get_logger().error(f"could not {name}: {error_sentence(error)}")
            if undo is None:
                return TransitionCallbackReturn.ERROR
            undo()
            return TransitionCallbackReturn.FAILURE
        if ended:
            self.get_logger().warning(f"{ended}: no frame is defended any more")
        return TransitionCallbackReturn.SUCCESS

    def _guarded(self, change: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
        wanted = request.transition.label or request.transition.id
        possible = [part for number, label, *_ in self._state_machine.available_transitions for part in (number, label)]
        if wanted in possible:
            return change(request, response)
        self.get_logger().warning(f"transition {wanted} is refused in state {self.state}: it is not possible there")
        response.success = False
        return response

"""A managed node that logs what goes wrong in a transition, and that no request can kill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from zmask_ros.errors import ZmaskError
from zmask_ros.node.device_errors import described

ACTIVE = "active"


class Managed(Protocol):
    """What the transitions do. Each may raise; what it had begun is then undone by `cleanup`."""

    def configure(self) -> None:
        """Load what takes long."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working; nothing is freed."""

    def cleanup(self) -> None:
        """Free everything; called in any state, also twice."""


class ManagedNode(LifecycleNode):
    """A lifecycle node around something managed.

    rclpy swallows what a transition raises; here it is logged and the transition fails: back to where it came from
    when configuring or activating, to unconfigured otherwise. A request that is not possible in the present state is
    answered with failure; in rclpy of Jazzy it ends the process.
    """

    def __init__(self, name: str, managed: Managed) -> None:
        super().__init__(name)
        self._managed = managed
        self._error: Exception | None = None
        self._starting = False
        change = self._service_change_state.callback
        self._service_change_state.callback = lambda request, response: self._guarded(change, request, response)

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
        return self._transition("configure", self._managed.configure, self._managed.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("activate", self._managed.activate, self._managed.deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("deactivate", self._managed.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("clean up", self._managed.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("shut down", self._managed.cleanup)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("recover from the error", self._managed.cleanup)

    def _transition(
        self, name: str, work: Callable[[], None], undo: Callable[[], None] | None = None
    ) -> TransitionCallbackReturn:
        try:
            work()
        except Exception as error:
            self._error = error
            if not self._starting:
                self.get_logger().error(f"could not {name}: {_sentence(error)}")
            if undo is None:
                return TransitionCallbackReturn.ERROR
            undo()
            return TransitionCallbackReturn.FAILURE
        self.get_logger().debug(f"did {name}")
        return TransitionCallbackReturn.SUCCESS

    def _guarded(self, change: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
        try:
            return change(request, response)
        except Exception as error:
            wanted = request.transition.label or request.transition.id
            self.get_logger().warning(f"transition {wanted} is refused in state {self.state}: {_sentence(error)}")
            response.success = False
            return response


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, ZmaskError) else described(error)

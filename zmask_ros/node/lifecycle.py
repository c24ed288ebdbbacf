"""A managed node that logs what goes wrong in a transition, and that no request can end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from lifecycle_msgs.msg import State
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from zmask_ros.node.device_errors import error_sentence

ACTIVE, CONFIGURING = "active", "configuring"
Result = TypeVar("Result")


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
        # Ends by itself.
        self._aside_thread = threading.Thread()
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

    def answering(self, work: Callable[[], Result]) -> Result:
        """What takes long in a transition: while the node starts itself, it answers requests meanwhile.

        Where a request has asked for the transition, the executor is in it, and whoever asked waits for its end.

        Raises:
            Exception: what ``work`` raises.
        """
        if not self._starting:
            return work()
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        try:
            task = executor.create_task(self.aside, work)
            executor.spin_until_future_complete(task)
            return task.result()  # type: ignore[no-any-return]
        finally:
            executor.remove_node(self)
            executor.shutdown()

    async def aside(self, work: Callable[[], Result]) -> Result:
        """Do ``work`` in a thread of its own; the executor goes on meanwhile.

        Raises:
            Exception: what ``work`` raises.
        """
        done = Future(executor=self.executor)

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)

        # A daemon, so that a network call that hangs cannot keep the process alive.
        self._aside_thread = threading.Thread(target=run, name="zmask aside", daemon=True)
        self._aside_thread.start()
        return await done  # type: ignore[no-any-return]

    def await_aside(self) -> None:
        """Wait for the end of what is done aside."""
        if self._aside_thread.is_alive():
            self._aside_thread.join()

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
        # Within a transition, those that end it are available as well, and nobody else's to ask for.
        if wanted in possible and self._state_machine.current_state[0] <= State.PRIMARY_STATE_FINALIZED:
            return change(request, response)
        self.get_logger().warning(f"transition {wanted} is refused in state {self.state}: it is not possible there")
        response.success = False
        return response

"""Clean drives and a network to the best profile that can be had in the time given, one chain that can be interrupted.

fit -> patches to compare on -> rounds of head and attackers, with a comparison in each -> a last lesson -> check
    -> screening -> report

In each round the head learns from all patches so far, and an attacker who knows the outcome makes the next one. The
attackers take turns, each in another way. Heads are compared by all their patches so far, whichever head they
were made against: a head is worth no more than the patches allow that are there already. The other patches that
profiles are compared on are none of those it learns from. After the rounds a head begins anew and learns from all
patches at once: one that went from round to round is still marked by the few that it began with. It has to be better
than the best of the rounds, each also against new attackers of its own, the worst of whom must not keep more.

No head learns from the frames of one drive, and profiles are not compared on them; where there are few drives, those of
one stretch. They have a say in the thresholds that are saved, and are for the check and the report.
Profiles are compared on other frames, which no training sees. The best so far is never let go for a worse one, and what
fitting alone gave is the first.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from torch import Tensor

from zmask_ros.attacks import Recipe
from zmask_ros.attacks.patch_attack import profile_digest, unjudged_patches
from zmask_ros.defense import Profile, load_profile, save_profile
from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.errors import ZmaskError
from zmask_ros.progress import SECONDS, Advance, Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversarial import RELATIVE_INPUTS, untrained_plan
from zmask_ros.training.benign_sources import BenignPictures
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.division import evenly
from zmask_ros.training.double_oracle import BENIGN_A_FRAME, HeadOracle, bytes_an_image
from zmask_ros.training.kept_state import UnfitWorkError, digest_of
from zmask_ros.training.pipeline import seconds_a_pass
from zmask_ros.training.plans import FittingPlan, completing, plan_of, screen_layers, transfer_plan
from zmask_ros.training.preparation.attackers import (
    BEGUN_PLAIN,
    KINDS,
    LASTING,
    LEARNED_PLAIN,
    LEARNED_SMALL,
    ROUND_ATTACKERS,
    SMALL,
    TIMED,
    Turn,
    patch_recipes,
)
from zmask_ros.training.preparation.budget import PATCHES, Budget
from zmask_ros.training.preparation.comparison import Comparison, without_knowing
from zmask_ros.training.preparation.head_profiles import HeadProfiles
from zmask_ros.training.preparation.standing import KNOWING, PLAIN, PatchFigures, Standing
from zmask_ros.training.preparation.state import Best, PreparationState, WorkFolder
from zmask_ros.training.preparation.work import Hands, Judge, OwnHands, PatchOrder
from zmask_ros.training.screening import add_screen
from zmask_ros.training.settings import PreparationSettings, ScreenSettings
from zmask_ros.training.sources import CleanFrame, total_length

ATTACKED_FRAMES = 60
"""Training frames that patches are optimized over, at most."""
LEARNED_SEED = 10
"""Added to the seeds of patches that the head learns from: others than those that profiles are compared on."""
ROUND_STEPS = 2 / 3
"""Of the steps of the patches that profiles are compared on: more rounds teach more than longer ones."""
FIRST_LEARNING_RATE, LEARNING_RATE = 2e-3, 1e-3
"""Of the first round of the head, and of those that follow."""
TIMED_STEPS, TIMED_SHARE = 2, 0.03
"""Of a patch, the first of which, in which all is new, is not timed; and of the budget, that this may take."""
PASSES_A_STEP = 10
"""Forward passes that a step takes on the average, about, where there is no time to see."""
NO_PICTURES = BenignPictures()
ANEW, LAST_LESSON = "anew", "last lesson"
"""What tells patches against the best from those against the head of the last lesson."""
ANEW_SEED = 100
"""Of the patches that are made anew."""


@dataclass(frozen=True)
class Preparation:
    """What came of a preparation.

    Attributes:
        profile: the best one.
        before, after: what fitting alone gave, and the best, on what is held out for the report. The adaptive patches
            were made against the head of each; those against fitting stay below the lower of its thresholds for masks.
        held_out: what is held out for the report, in words.
        reported: its clean frames, uint8 [h, w, 3] RGB.
        drives: number of drives, the one that is held out for the report among them.
        patch_steps: optimization steps of each patch.
        steps: of adversarial training behind the profile's head.
        rounds: of head and attackers.
        refused: why the check did not take the best head of these rounds; empty: it took it, or there was none.
        seconds: that it took, interruptions left out.
        stages: seconds of each stage.
    """

    profile: Profile
    before: Standing
    after: Standing
    held_out: str
    reported: tuple[np.ndarray, ...]
    drives: int
    patch_steps: int
    steps: int
    rounds: int
    refused: str
    seconds: float
    stages: dict[str, float]


@dataclass(frozen=True)
class Surroundings:
    """What a preparation is given from outside.

    Attributes:
        judge: see `Judge`.
        work: folder of what is kept while it runs; the next call goes on from there. It is removed at the end.
        keep: takes the best profile whenever there is a better one.
        clock: seconds from anywhere.
        progress: shows how far it is.
        hands: do what can be done at the same time; None: this process does.
        roads: draws other roads without any attack, uint8 [h, w, 3] RGB, for a height and width; None: there are none.
    """

    judge: Judge
    work: Path
    keep: Callable[[Profile], None]
    clock: Callable[[], float]
    progress: Progress = silent
    hands: Hands | None = None
    roads: Callable[[tuple[int, int]], Iterator[np.ndarray]] | None = None


def check_start(segmenter: Segmenter, start: Profile | None) -> None:
    """Refuse what a preparation cannot begin with, before any drive is read.

    Raises:
        ZmaskError: ``start`` belongs to another network or has no head, or the network has no layers to begin with.
    """
    plan = begun_plan(segmenter, start)
    if plan.head_transfers:
        untrained_plan(segmenter, plan)


def begun_plan(segmenter: Segmenter, start: Profile | None) -> FittingPlan:
    """The layers, the head and the growth that a preparation begins with: those of ``start``; None: the transferable.

    Masks of a head that has learned grow as `completing` says.

    Raises:
        ZmaskError: see `check_start`.
    """
    if start is None:
        return transfer_plan(segmenter)
    if start.detector.head is None:
        raise ZmaskError("The profile has no evidence head to start from: leave --from away.")
    return plan_of(segmenter, start)


def prepare(
    segmenter: Segmenter,
    frames: Sequence[CleanFrame],
    settings: PreparationSettings,
    surroundings: Surroundings,
    start: Profile | None = None,
    budget: float = math.inf,
    benign: BenignPictures = NO_PICTURES,
) -> Preparation:
    """The best profile that can be had in ``budget`` seconds; without a budget, until it stops getting better.

    Args:
        segmenter: the network.
        frames: clean ones, at the network's input size, in the order of their drives.
        settings: how.
        surroundings: what it is given from outside.
        start: a profile of the same network, whose layers and head it begins with; None: fitting gives the
            transferable head. An untrained head that sees channels learns where the first one sees descriptors.
        budget: seconds, those of interrupted calls among them. What a call lost since it last kept its state does not
            count.
        benign: other roads and cameras without any attack.

    Raises:
        ZmaskError: too few frames, or the work folder belongs to another preparation.
        KeyboardInterrupt: it was interrupted; the best profile has been kept, and the next call goes on.
    """
    total = None if math.isinf(budget) else math.ceil(budget)
    with surroundings.progress("Preparing", SECONDS, total) as advance:
        chain = _Chain(segmenter, frames, settings, surroundings, start, budget, advance, benign)
        chain.train_patches()
        chain.train_head()
        chain.check()
        screened = chain.with_screen(chain.best_profile())
        surroundings.keep(screened)
        result = chain.report(screened)
    chain.folder.remove()
    return result


class _Chain:
    """The stages of a preparation, with what they hand on."""

    def __init__(
        self,
        segmenter: Segmenter,
        frames: Sequence[CleanFrame],
        settings: PreparationSettings,
        surroundings: Surroundings,
        start: Profile | None,
        budget: float,
        advance: Advance,
        benign: BenignPictures,
    ) -> None:
        self.segmenter, self.settings, self.around, self.start = segmenter, settings, surroundings, start
        own = OwnHands(segmenter, surroundings.judge, surroundings.clock, surroundings.progress)
        self.hands: Hands = surroundings.hands or own
        self._advance, self._told = advance, 0.0
        self.plan = begun_plan(segmenter, start)
        belongs_to = _identity(segmenter, frames, benign, settings, start, completing(self.plan.growth))
        self.folder = WorkFolder(surroundings.work, belongs_to)
        kept, began = self.folder.load(), surroundings.clock()
        self._tell(0.0 if kept is None else kept.spent)
        self.profiles = HeadProfiles(segmenter, self.plan, frames, settings, start, surroundings.progress)
        self.parts = self.profiles.parts
        self.benign = benign
        # What was fitted before an interruption is fitted again, which is not counted twice.
        self._began = began if kept is None else surroundings.clock() - kept.spent
        self.state = kept or PreparationState(patched=self.profiles.tried())
        self.floor = self.profiles.floor(self.state.patched)
        self.budget = Budget(
            budget,
            settings,
            self.state,
            self._now,
            lambda: self._pass_seconds,
            self._step_seconds,
            benign,
            len(self.parts.reported),
            surroundings.roads is not None,
        )
        self.comparison = Comparison(segmenter, self.profiles, settings, self.state, self.hands, benign, self.budget)
        if kept is None:
            surroundings.keep(self.profiles.saved(self.floor))
            self._mark("fit")
        self.cautious = replace(self.floor, precaution_rate=self.plan.precaution_rate or settings.precaution_rate)
        self.judged_cautious = self.profiles.judged(self.cautious)

    # Stages

    def train_patches(self) -> None:
        """Patches against the network and against the profile that fitting alone gave."""
        state = self.state
        if state.patch_steps is None:
            state.patch_steps = self.budget.patch_steps()
            # Timed anew, it would be another number, and an interrupted patch could not be gone on with.
            self.folder.save(state)
        recipes = patch_recipes(self.segmenter.input_size, state.patch_steps)
        # Some of those that know the defense begin with a patch that does not.
        for knowing in (False, True):
            for made in self.hands.make(
                [
                    self._order(kind, recipe, self.judged_cautious, self._begun(kind))
                    for kind, recipe in recipes.items()
                    if kind not in state.patches and recipe.knows_the_defense == knowing
                ]
            ):
                state.patches[made.kind] = made.patches
                if knowing:
                    state.knowing_seconds[made.kind] = made.seconds
                self._mark("patches")
        state.patches = {kind: state.patches[kind] for kind in KINDS}
        self.comparison.paste()
        if state.best is None:
            began = self._now()
            self._compare(self.cautious, self.judged_cautious)
            state.compare_seconds = self._now() - began
            if self.floor.precaution_rate is None:
                self._compare(self.floor, self.profiles.judged(self.floor))
            state.stale = 0
            self._mark("comparison")

    def train_head(self) -> None:
        """Rounds of head and attackers; each head is compared with the best."""
        state, oracle = self.state, None
        if self.budget.goes_on():
            # With a longer budget an interrupted preparation trains again, and a last lesson has more to teach then.
            state.last, state.anew = None, {}
            self._make_learned_patches()
            oracle = self._oracle()
            while self.budget.goes_on():
                self._round(oracle)
        if state.last is None and self.budget.affords_last_lesson(0.0 if oracle else state.oracle_seconds):
            state.last = self._answered(oracle or self._oracle(), anew=True)
            self._mark(LAST_LESSON)
        if state.last is not None:
            self._compare_last(state.last)
        # No round fits into what is left of the head's time: that will not be spent.
        self._tell(self.budget.for_training())

    def check(self) -> None:
        """Go back to what fitting gave if the best is worse on the frames that are held out for the report.

        Or if whoever knows it keeps more there: rounds tell heads apart by patches that were made against others.
        """
        state = self.state
        if self._is_floor(self._best):
            return
        state.best = self._attacked_anew({ANEW: self._best}, "check")[ANEW]
        why = self.comparison.reported(state.best).shortcoming(self.comparison.reported(self.floor))
        if why:
            state.refused = why if state.best.steps else ""
            fitted = self.profiles.judged(self.floor)
            self._keep(self.floor, self.comparison.standing(self.floor, fitted, fitted, by_its_own=True))
            # It has had its chance, and must not have another one after an interruption.
            state.last = None if state.last is None else self.floor
        self._mark("check")

    def _attacked_anew(self, heads: dict[str, Best], stage: str) -> dict[str, Best]:
        """Heads with adaptive patches against each, by attackers of the strength of those against what fitting gave.

        Args:
            heads: by what tells the patches against them from others. What has not learned keeps those that it has.
            stage: that takes the time.
        """
        state = self.state
        assert state.patch_steps is not None
        recipes = patch_recipes(self.segmenter.input_size, state.patch_steps)
        missing = {name: own for name, own in heads.items() if own.steps and own.against.keys() != set(KNOWING)}
        judged = {name: self.profiles.as_saved(own) for name, own in missing.items()}
        orders = [
            self._order(f"{kind}, {name}", replace(recipes[kind], seed=ANEW_SEED), judged[name], self._begun(kind))
            for name in missing
            for kind in KNOWING
            if f"{kind}, {name}" not in state.anew
        ]
        for made in self.hands.make(orders):
            state.anew[made.kind] = made.patches
            self._mark(stage)
        return heads | {
            name: replace(own, against={kind: state.anew[f"{kind}, {name}"] for kind in KNOWING})
            for name, own in missing.items()
        }

    def with_screen(self, profile: Profile) -> Profile:
        """The profile with a screen, if there is time to train one; otherwise with that of the start, if it had one."""
        place = self.folder.screened(profile)
        if place.exists():
            return load_profile(place)
        steps = self.budget.screen_steps()
        if steps:
            profile = self._screened(profile, steps)
        elif self.settings.screen and self.start is not None and self.start.screen is not None:
            plan = plan_of(self.segmenter, self.start.of_screen())
            fit = ProfileFit(self.segmenter, plan, total_length(self.parts.others))
            fit.add_all(self.parts.others)
            alone = fit.finish(self.start.screen.threshold.false_alarm_rate)
            profile = profile.with_screen(alone, alone.detector.threshold)
        else:
            return profile
        save_profile(profile, place)
        self.folder.screening(profile).unlink(missing_ok=True)
        self._mark("screening")
        return profile

    def _screened(self, profile: Profile, steps: int) -> Profile:
        """The profile with a screen that is trained for so many steps; an unfinished one is gone on with."""
        state, kept = self.state, self.folder.screening(profile)
        if not kept.exists():
            # With another number it could not be gone on with.
            state.screen_steps = steps
            self.folder.save(state)
        settings, layers = ScreenSettings(adversarial_steps=state.screen_steps), screen_layers(self.segmenter)
        train = partial(add_screen, self.segmenter, profile, self.parts.others, settings, layers)
        try:
            try:
                return train(progress=self.around.progress, state=kept)
            except UnfitWorkError:
                kept.unlink()
                return train(progress=self.around.progress, state=kept)
        except KeyboardInterrupt:
            self._mark("screening")
            raise

    def report(self, profile: Profile) -> Preparation:
        """What patches do before and after, on frames that took part in nothing but the check."""
        state, best = self.state, self._best
        assert state.patch_steps is not None
        before, after = self.comparison.reported(self.floor), self.comparison.reported(best)
        self._mark("report")
        return Preparation(
            profile=profile,
            before=before,
            after=after,
            held_out=self.parts.held_out,
            reported=self.comparison.reported_images,
            drives=self.profiles.drives,
            patch_steps=state.patch_steps,
            steps=best.steps,
            rounds=state.rounds,
            refused=state.refused,
            seconds=state.spent,
            stages=state.stages,
        )

    # What stages are made of

    @property
    def _best(self) -> Best:
        return self.state.best or self.floor

    def _is_floor(self, own: Best) -> bool:
        return own.key == self.floor.key

    def best_profile(self) -> Profile:
        """The best so far, with the statistics and thresholds of all drives."""
        return self.profiles.saved(self._best)

    def _now(self) -> float:
        return self.around.clock() - self._began

    def _mark(self, stage: str) -> None:
        """Count the time since the last mark for ``stage``, and keep the state."""
        now = self._now()
        self.state.stages[stage] = self.state.stages.get(stage, 0.0) + now - self.state.spent
        self.state.spent = now
        self.folder.save(self.state)
        self._tell(now)

    def _tell(self, gone: float) -> None:
        """Show how much of the budget is gone; nobody knows where it is infinite."""
        if self._told < gone < math.inf:
            self._advance(gone - self._told)
            self._told = gone

    @cached_property
    def _pass_seconds(self) -> float:
        """Seconds that a forward pass takes."""
        return seconds_a_pass(self.segmenter, self.parts.others)

    def _step_seconds(self) -> float:
        """Seconds that an optimization step of a patch takes, on the average over all that are made."""
        guessed = PASSES_A_STEP * self._pass_seconds
        if len(TIMED) * TIMED_STEPS * guessed > TIMED_SHARE * self.budget.seconds:
            return guessed
        recipes = patch_recipes(self.segmenter.input_size, TIMED_STEPS)
        frames = [frame.image for frame in self.parts.training[:TIMED_STEPS]]
        seconds = (
            count * seconds_a_step(self.segmenter, recipes[kind], self.judged_cautious, frames)
            for kind, count in TIMED.items()
        )
        return sum(seconds) / PATCHES

    def _order(self, kind: str, recipe: Recipe, profile: Profile, begun: Tensor | None = None) -> PatchOrder:
        """Patches against the network or, where the recipe knows it, against ``profile``; they begin with ``begun``."""
        own = profile if recipe.knows_the_defense else None
        frames = tuple(frame.image for frame in evenly(self.parts.training, ATTACKED_FRAMES))
        return PatchOrder(kind, recipe, frames, own, begun, self.folder.attack(kind))

    def _begun(self, kind: str) -> Tensor | None:
        """What a patch begins with that profiles are compared on; None: noise."""
        return self.state.patches[PLAIN] if kind in BEGUN_PLAIN else None

    def _compare(self, own: Best, profile: Profile) -> None:
        """Keep ``own`` if it is better than the best so far, each against all adaptive patches that there are.

        Args:
            own: the head.
            profile: as it is judged.
        """
        state = self.state
        # By the patches that were made against it, a head that met weak attackers would seem better for it.
        standing = self.comparison.standing(own, profile, profile, by_its_own=not own.steps)
        if own.steps:
            self._show_the_best()
        # Of two that are as good, the later one has learned from more.
        better = state.best is None or (
            standing.merit >= state.best_merit if own.steps else standing.merit > state.best_merit
        )
        state.stale = 0 if state.best is None or standing.merit > state.best_merit else state.stale + 1
        if better:
            self._keep(own, standing)

    def _show_the_best(self) -> None:
        """Judge the best by the patches that were made since, too."""
        state = self.state
        if state.best is None:
            return
        by_kind = without_knowing({kind: PatchFigures(*own) for kind, own in state.best_figures.items()})
        by_kind |= self.comparison.by_others(self.profiles.judged(state.best))
        state.best_merit = Standing(by_kind, state.best_alarms, state.best_alarms).merit

    def _keep(self, own: Best, standing: Standing) -> None:
        """Take ``own`` for the best, by what it is like where profiles are compared."""
        state = self.state
        state.best, state.best_merit, state.best_alarms = own, standing.merit, standing.false_alarms
        state.best_figures = {kind: astuple(found) for kind, found in standing.by_kind.items()}
        self.around.keep(self.profiles.saved(own))

    def _compare_last(self, last: Best) -> None:
        """Keep the head of the last lesson if it replaces the best, each also against attackers of its own."""
        state = self.state
        if last.digest == self._best.digest:
            # It has been compared before an interruption.
            return
        heads = self._attacked_anew({ANEW: self._best, LAST_LESSON: last}, LAST_LESSON)
        state.best, state.last = heads[ANEW], heads[LAST_LESSON]
        best, own = (
            self.comparison.standing(one, self.profiles.as_saved(one), self.profiles.judged(one), by_its_own=True)
            for one in (state.best, state.last)
        )
        if own.replaces(best):
            self._keep(state.last, own)
        self._mark(LAST_LESSON)

    def _make_learned_patches(self) -> None:
        """What the head learns from first: patches that know nothing of the defense, and those against fitting."""
        state = self.state
        assert state.patch_steps is not None
        recipes = patch_recipes(self.segmenter.input_size, state.patch_steps)
        begun = {
            learned: replace(recipes[kind], seed=recipes[kind].seed + LEARNED_SEED)
            for kind, learned in ((PLAIN, LEARNED_PLAIN), (SMALL, LEARNED_SMALL))
        }
        orders = [
            self._order(kind, recipe, self.judged_cautious)
            for kind, recipe in begun.items()
            if kind not in state.learned
        ]
        for made in self.hands.make(orders):
            state.learned[made.kind] = made.patches
            self._mark("patches")
        # Whoever made them first.
        first = {kind: state.learned.pop(kind) for kind in begun}
        first |= {kind: state.patches[kind] for kind in KNOWING}
        state.learned = first | state.learned

    def _oracle(self) -> HeadOracle:
        """What trains the head."""
        taught = self.profiles.taught
        if self.state.shown_frames is None:
            # Timed anew, it would be another number, and the head another one.
            self.state.shown_frames = self.budget.shown_frames(bytes_an_image(taught, self.parts.training[0]))
        began = self._now()
        frames = evenly(self.parts.training, self.state.shown_frames)
        most = round(BENIGN_A_FRAME * len(frames))
        given = evenly(self.benign.taught, most)
        others = (*given, *self._drawn(min(self.budget.drawn_pictures(), most - len(given))))
        oracle = HeadOracle(taught, frames, self.profiles.takes_part, others, progress=self.around.progress)
        self.state.oracle_seconds = self._now() - began
        self._mark("head")
        return oracle

    def _drawn(self, count: int) -> Iterator[np.ndarray]:
        """Other roads that nobody had to record."""
        if self.around.roads is None or not count:
            return
        with self.around.progress("Drawing other roads", "pictures", count) as advance:
            for picture in itertools.islice(self.around.roads(self.segmenter.input_size), count):
                yield picture
                advance()

    def _round(self, oracle: HeadOracle) -> None:
        """The head's answer to all patches so far, and the next ones, which know it."""
        state, began = self.state, self._now()
        own = self._answered(oracle)
        judged = self.profiles.judged(own)
        assert state.patch_steps is not None
        turn = Turn(state.rounds)
        recipe = turn.recipe(self.segmenter.input_size, self._round_steps(state.patch_steps))
        begun = state.learned[LEARNED_PLAIN] if turn.attacker.begins_plain else None
        whole = not self.folder.attack(turn.patch_name).exists()
        (made,) = self.hands.make([self._order(turn.patch_name, recipe, judged, begun)])
        state.learned[made.kind] = made.patches
        self._tell(self._now())
        self._compare(own, judged)
        state.head, state.steps, state.rounds = own.head, own.steps, state.rounds + 1
        # One whose patch was begun before an interruption took longer than it seems.
        state.round_seconds = self._now() - began if whole else state.round_seconds
        self._mark("head")

    def _remembered(self) -> dict[str, Tensor]:
        """The patches that the head is shown."""
        return {name: self.state.learned[name] for name in self.comparison.remembered}

    def _round_steps(self, patch_steps: int) -> int:
        """Optimization steps of the patches of a round; few are never made fewer."""
        return max(min(self.settings.least_patch_steps, patch_steps), round(ROUND_STEPS * patch_steps))

    def _answered(self, oracle: HeadOracle, anew: bool = False) -> Best:
        """The next head, which goes on from the last one, or begins ``anew``."""
        state, settings, began = self.state, self.settings, self._now()
        assert self.profiles.taught.plan.learned is not None
        begun, last = self.profiles.taught.plan.learned.head, None if anew else state.head
        for name, patches in self._remembered().items():
            if name not in oracle.shown:
                oracle.show(name, patches, lasting=name in LASTING)
        oracle.forget_all_but(self._remembered())
        steps = settings.head_steps if last is None else settings.head_steps // 3
        head = begun if last is None else Head(begun.branch, begun.kind, **last)
        with self.around.progress("Training the head", "steps", steps) as advance:

            def show(steps: float = 1, note: str = "") -> None:
                self._tell(self._now())
                advance(steps, f"{note}, best merit {state.best_merit:.3f}")

            head = oracle.answer(head, steps, FIRST_LEARNING_RATE if last is None else LEARNING_RATE, show)
        behind = steps if last is None else state.steps + steps
        own = Best(head.tensors, self.plan.precaution_rate or settings.precaution_rate, behind)
        if state.head is None:
            state.lesson_seconds = self._now() - began
        return replace(own, patched=self.comparison.weakest_patched(own))


def seconds_a_step(segmenter: Segmenter, recipe: Recipe, profile: Profile, images: Sequence[np.ndarray]) -> float:
    """Seconds that the last step of ``recipe`` takes, against ``profile`` if it knows the defense."""
    ends = [time.perf_counter()]
    known = [(image, None) for image in images]
    unjudged_patches(segmenter, recipe, known, lambda: ends.append(time.perf_counter()), profile)
    return ends[-1] - ends[-2]


def _identity(
    segmenter: Segmenter,
    frames: Sequence[CleanFrame],
    benign: BenignPictures,
    settings: PreparationSettings,
    start: Profile | None,
    growth: Growth,
) -> dict[str, str]:
    """What a work folder belongs to, by words that a sentence can use."""
    images = hashlib.sha256()
    for frame in frames:
        images.update(f"{frame.bag} {frame.topic} {frame.index}".encode())
        images.update(frame.image.tobytes())
    return {
        "network": segmenter.digest,
        "set of drives": images.hexdigest(),
        "set of benign pictures": digest_of(benign.all),
        "profile to start from": "none" if start is None else profile_digest(start),
        "kind of head": RELATIVE_INPUTS.kind.value,
        "growth of masks": repr(growth),
        "set of attackers": repr((ROUND_ATTACKERS, patch_recipes(segmenter.input_size, steps=1))),
        "set of settings": repr(settings),
    }

"""What a run is asked to do, complete; and its parts, which are all that the engine sees of it."""

from evaluators.proxies.by_name import PROXIES
from leaderboards.recipes.keys import LIMITS, WHERE, Keys
from leaderboards.recipes.parts import Bases, Cutting, Making, Parts, Place, Ranking, Rounds, Sources, Tuning
from leaderboards.recipes.ranking_keys import read_fidelities, reads_boxes
from leaderboards.recipes.size_keys import searches_sizes
from leaderboards.recipes.strategy_keys import mask_of_keys
from leaderboards.run_path import run_folder
from search.methods.by_name import METHODS
from search.strategies.by_name import STRATEGIES
from spaces.bases.names import SAME
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery

PLAIN = (Recovery.NOTHING, Recovery.ADAPTIVE_BN)  # need nothing of the parent


class Recipe(Keys):
    """A run, complete: what is not given has its default."""

    def parts(self) -> Parts:
        """Return the parts that the engine works with.

        Raises:
            BadInput: the keys of what strategy=unstructured sets to zero do not go together.
        """
        settings = self.model_dump(mode="json")
        return Parts(
            place=Place(
                run_folder(self.out),
                self.workers,
                self.ray_address,
                f"cuda:{self.device}" if self.device.isdigit() else self.device,
            ),
            sources=self._sources(),
            bases=Bases(
                self.imgsz,
                self.backbones,
                self.depth,
                self.depth_importance,
                self.image_sizes or (),
                self.graft_epochs,
                self.backbone_weights,
                searches_sizes(dict(self)),
            ),
            cutting=Cutting(self.align, self.keep_min, self.bits, self.activation_bits),
            limits={key: amount for key in LIMITS if (amount := getattr(self, key)) is not None},
            making=self._making(),
            ranking=self._ranking(),
            rounds=self._rounds(),
            tuning=self._tuning(),
            track=self.track,
            identity={key: value for key, value in settings.items() if key not in WHERE},
            settings=settings,
        )

    @property
    def reads_boxes(self) -> bool:
        """Whether anything of the run reads the boxes of train: ranking by mAP or loss does, and fine-tuning."""
        learns_boxes = (self.finetune_epochs > 0 and self.labels) or self.strategy in METHODS
        return learns_boxes or reads_boxes(self.proxy, self.ladder)

    def _sources(self) -> Sources:
        return Sources(
            self.weights,
            self.data,
            self.search_images,
            self.seed,
            self.reads_boxes,
            self.device_file,
            self.allow_foreign_device,
            self.rivals,
            self.images,
            self.names,
        )

    def _making(self) -> Making:
        is_plain = self.strategy in METHODS and self.recovery in PLAIN and PROXIES[self.proxy].follows_run
        return Making(
            self.importance,
            self.recovery,
            self.precision,
            self.calibration_images,
            self.seed,
            needs_losses=not is_plain,
        )

    def _ranking(self) -> Ranking:
        fixed: tuple[Candidate, ...] = ()
        if self.strategy in STRATEGIES and STRATEGIES[self.strategy].is_control:
            fixed = (Candidate(SAME, (mask_of_keys(self.granularity, self.sparsity_percent).pick,)),)
        ladder = read_fidelities(self.ladder)
        return Ranking(
            self.strategy, self.proxy, ladder, self.candidates, self.front, self.seed, fixed, self.references
        )

    def _rounds(self) -> Rounds:
        method = METHODS.get(self.strategy)
        return Rounds(
            self.rounds or (method.rounds if method else 0),
            self.round_epochs or self.finetune_epochs or 1,
            self.sparsity if self.sparsity is not None else (method.sparsity if method else 0.0),
            method is not None and method.is_eased,
        )

    def _tuning(self) -> Tuning:
        return Tuning(
            self.imgsz,
            self.finetune_epochs,
            self.finetune_epochs if self.qat_epochs is None else self.qat_epochs,
            self.epoch_budget,
            self.batch,
            self.lr,
            self.distill,
            self.flip,
            self.mosaic,
            self.seed,
            self.runtimes,
            self.int8,
            self.labels,
        )

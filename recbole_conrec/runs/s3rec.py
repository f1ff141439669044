"""The trainer of S3Rec."""

import torch
from recbole.trainer import S3RecTrainer as StockS3RecTrainer
from recbole.utils import init_seed
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from recbole_conrec.runs.trainer import HarnessMixin
from recbole_conrec.utils.damage import has_tensors, shapes
from recbole_conrec.utils.distributed import write_once


class S3RecTrainer(HarnessMixin, StockS3RecTrainer):
    """S3Rec's two stages in one command: pre-training on the training histories, then fine-tuning.

    Stock RecBole wants two runs with a pickled checkpoint between them. Both stages draw the numbers that they draw
    there, so that the weights are those of the two runs to the last bit (tests/test_stock_equality.py).
    """

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        self._start_stage(train_data)
        marker = self.run_dir / "pretrained.safetensors"
        if not has_tensors(marker, shapes(self.model.state_dict())):
            epochs = tqdm(range(self.pretrain_epochs), desc="pretrain S3Rec", unit="epoch", disable=not show_progress)
            for epoch in epochs:
                loss = self._train_epoch(train_data, epoch)
                epochs.set_postfix_str(f"loss {loss:.1f}")
                self.report(epoch, {"pretrain/loss": loss})
            state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            write_once(marker, lambda path: save_file(state, path))
        self.model.load_state_dict(load_file(str(marker)))
        self._start_stage(train_data, loaded=True)
        self.model.train_stage = "finetune"
        self.model.loss_fct = torch.nn.CrossEntropyLoss()
        self.optimizer = self._build_optimizer()
        self._steps_before = self.pretrain_epochs
        return super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)

    def _start_stage(self, train_data, loaded: bool = False) -> None:
        """The random state in which a stage of stock RecBole starts: seeded, and one network drawn (without its second
        draw where weights are ``loaded`` over it), and a new loader's order of the instances.
        """
        init_seed(self.place.seed, self.place.reproducibility)
        stock = type(self.model)
        once = {"_init_weights": lambda self, module: None} if loaded else {}
        type(stock.__name__, (stock,), once)(self.config, train_data._dataset)
        train_data.generator.manual_seed(self.place.seed)

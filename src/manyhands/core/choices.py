"""The words a user chooses from, in modules of any floor. NumPy-free: the command line shows them in its help."""

from __future__ import annotations

NETWORKS = ("cnn-small", "cnn-fast", "cnn-deep", "resnet-small")
"""Convolutional networks that come along; see `manyhands.learners.torch.networks`."""
SUMS = ("gaussian-nb", "multinomial-nb", "bernoulli-nb", "categorical-nb", "lda", "qda", "tree", "forest")
"""Learners that are made of sums over samples; see `manyhands.learners.sums`."""
UNSCALED = ("multinomial-nb", "bernoulli-nb", "categorical-nb", "tree", "forest")
"""Those of them that take values as they are stored, unless a scaling is asked for: counts, and thresholds to read."""
LEARNERS = ("mlp", "published", *SUMS, *NETWORKS, "torch")
OTHER_LEARNERS: list[str] = []
"""Learners that a program has added; see `manyhands.learners.register`."""
OTHER_SUMS: list[str] = []
"""Those of them that are made of sums."""
PYTORCH = (*NETWORKS, "torch")
"""Learners that need PyTorch; ``torch`` is any module of the user's."""
SHARDINGS = ("global", "fixed")
SCALINGS = ("auto", "255", "standard", "none")
LABELS = ("fine", "coarse")
"""Of CIFAR-100, whose samples have two labels each."""
ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu",
    "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "softsign",
)  # fmt: skip
"""In the order of the codes in `manyhands.learners.mlp.kernel_args`."""
OPTIMIZERS = (
    "sgd", "momentum", "nesterov", "adam", "adagrad", "rmsprop",
    "adadelta", "adamax", "nadam", "adamw", "lamb", "lars",
)  # fmt: skip
"""In the order of the codes in `manyhands.learners.mlp.kernel_args`."""
LOSSES = ("cross_entropy", "binary_cross_entropy", "squared_error", "poisson")
"""Of softmax, logistic, linear and exponential outputs; in the order of the codes in `kernel_args`."""
DTYPES = ("float32", "float64")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("cpu", "cuda", "auto")
LANE_PLANS = ("balanced", "plain")
GATES = ("sample", "batch", "layer")
"""Of speculative back-propagation: how lanes share the work, and of what distances are taken."""
AUGMENTATIONS = ("shift", "rotate", "scale", "shear", "elastic", "thickness", "flip", "crop", "handwriting")

JOINABLE = ("mnist", "letters", "glyphs", "fragments")
"""Data sets of characters that ``a+b`` joins; see `manyhands.data.joined`."""
NO_CHARACTER = "\N{WHITE SQUARE}"
"""The label of what is no character, and the mark of what could not be read."""
ALPHABETS = ("digits", "letters", "all")
"""Which characters are read on a page."""
REJECT = 0.35
"""Characters of a page that are less probable than this are marked as not read."""


def is_made_of_sums(learner: str) -> bool:
    """Return whether a learner is made of sums over samples, and takes no steps."""
    return learner in SUMS or learner in OTHER_SUMS

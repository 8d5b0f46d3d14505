"""The classifier inside a network for each pixel, or an autoencoder: its encoder takes a classifier's weights."""

from netwright.models._bodies import Bodied, DenseEncoder
from netwright.models._encoder import Encoder
from netwright.models._family import Family
from netwright.models._placed import UNCOUNTED, State, heads_of
from netwright.models._segmenter import Segmenter


def encoder_of(model: Family) -> Encoder | DenseEncoder | None:
    """The classifier's body that a network has inside; None where it is a classifier, or has an encoder of its own."""
    encoder = model.get_encoder() if isinstance(model, Segmenter | Bodied) else None
    return encoder if isinstance(encoder, Encoder | DenseEncoder) else None


def encoder_prefix(model: Family) -> str:
    """What the names of an encoder's tensors begin with: "encoder."."""
    return f"{model.encoder_name}." if isinstance(model, Segmenter | Bodied) else ""


def drawn_beside(model: Family) -> list[str]:
    """The tensors that an encoder's weights leave as they were drawn: all beside it, but for counters."""
    names = (name for name in model.state_dict() if not name.endswith(UNCOUNTED))
    return [name for name in names if not name.startswith(encoder_prefix(model))]


def has_more(model: Family, given: State) -> bool:
    """Whether tensors have names of the encoder and of what is beside it, heads apart: they are of such a network."""
    heads, prefix = heads_of(model), encoder_prefix(model)
    beside = any(name in given for name in drawn_beside(model) if not name.startswith(heads))
    return beside and any(name in given for name in model.state_dict() if name.startswith(prefix))

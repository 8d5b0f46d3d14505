"""Nesterov's accelerated gradient (Nesterov 1983; Sutskever et al. 2013): `sgd` as it is by default."""

from dataclasses import dataclass, field

from netwright.optim.sgd import Sgd


@dataclass
class Nesterov(Sgd):
    """SGD with Nesterov's momentum; for plain (heavy-ball) momentum take `sgd(nesterov=False)`."""

    nesterov: bool = field(default=True, init=False)

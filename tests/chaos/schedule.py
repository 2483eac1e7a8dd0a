# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Which fault comes when: drawn from a seed, with no look at what happens.

Faults come at random times, do not wait for the recovery from the one
before, and overlap; but nothing is broken that is broken already.
"""

import dataclasses
import enum
import random

#: Seconds between two faults.
PAUSE = (1.0, 6.0)

#: Seconds after its end in which a fault's target is left alone.
SETTLE = 0.5

#: Chance that a conductor is lost while another one is. Most of the time
#: there is to be one that takes the consoles, or nothing is contested.
_BOTH = 0.15

#: Kinds left in the bag when more are put into it.
_FEW = 10


class Target(enum.Enum):
    """What a fault hits."""

    CONDUCTOR = 'a conductor, its bridge, or both'
    PATH = 'the network between a conductor and the backend'
    DATABASE_PATH = 'the network between a conductor and the database'
    PATHS = 'both'
    BACKEND = 'the server that keeps the locks'
    DATABASE = 'the database'
    NODE = 'a node'


class Length(enum.Enum):
    """How long a fault lasts."""

    SHORT = 'shorter than any timeout'
    LONG = 'longer than every timeout'
    ANY = 'one or the other'


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of fault.

    :param weight: how often it is drawn.
    """

    name: str
    target: Target
    length: Length
    weight: int = 2


_C, _P, _Q, _R, _B, _D, _N = (
    Target.CONDUCTOR, Target.PATH, Target.DATABASE_PATH, Target.PATHS,
    Target.BACKEND, Target.DATABASE, Target.NODE)
_SHORT, _LONG, _ANY = Length.SHORT, Length.LONG, Length.ANY

#: Others take what a conductor has that suffers one of these.
_AWAY = (_C, _Q, _R)

CONDUCTOR_KILL = Kind('conductor kill -9', _C, _ANY, 3)
CONDUCTOR_TERM = Kind('conductor SIGTERM', _C, _ANY)
CONDUCTOR_HUP = Kind('conductor SIGHUP', _C, _SHORT)
CONDUCTOR_PAUSE = Kind('conductor paused, long', _C, _LONG)
CONDUCTOR_NAP = Kind('conductor paused, short', _C, _SHORT, 1)
BRIDGE_KILL = Kind('bridge kill -9', _C, _SHORT, 3)
BRIDGE_PAUSE = Kind('bridge paused, long', _C, _LONG, 3)
BRIDGE_NAP = Kind('bridge paused, short', _C, _SHORT)
BOTH_PAUSE = Kind('conductor and bridge paused, long', _C, _LONG, 5)
BOTH_NAP = Kind('conductor and bridge paused, short', _C, _SHORT, 1)
PATH_HOLE = Kind('backend out of reach, long', _P, _LONG)
PATH_BLINK = Kind('backend out of reach, short', _P, _SHORT)
DATABASE_HOLE = Kind('database out of reach', _Q, _LONG)
CUT_OFF = Kind('conductor cut off from backend and database', _R, _LONG, 6)
BACKEND_RESTART = Kind('backend restarted', _B, _SHORT)
BACKEND_KILL = Kind('backend kill -9', _B, _ANY)
BACKEND_PAUSE = Kind('backend paused, long', _B, _LONG)
BACKEND_NAP = Kind('backend paused, short', _B, _SHORT)
DATABASE_PAUSE = Kind('database paused', _D, _ANY)
DATABASE_STOP = Kind('database stopped', _D, _ANY)
NODE_OFF = Kind('console off and on', _N, _SHORT, 3)
NODE_MOVE = Kind('node to another group and back', _N, _ANY, 3)
BMC_RESET = Kind('BMC reset', _N, _SHORT)

KINDS = (
    CONDUCTOR_KILL, CONDUCTOR_TERM, CONDUCTOR_HUP, CONDUCTOR_PAUSE,
    CONDUCTOR_NAP, BRIDGE_KILL, BRIDGE_PAUSE, BRIDGE_NAP, BOTH_PAUSE,
    BOTH_NAP, PATH_HOLE, PATH_BLINK, DATABASE_HOLE, CUT_OFF,
    BACKEND_RESTART, BACKEND_KILL, BACKEND_PAUSE, BACKEND_NAP,
    DATABASE_PAUSE, DATABASE_STOP, NODE_OFF, NODE_MOVE, BMC_RESET)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What there is to break, and the times that matter.

    :param conductors: how many are hit.
    :param server: whether a server keeps the locks.
    :param group: whether there is another conductor group.
    :param timeout: seconds; the longest of the timeouts that a fault must
        outlast.
    :param only: a word in the names of the kinds there are to be.
    """

    conductors: int
    nodes: int
    server: bool
    group: bool
    timeout: float
    only: str = ''

    def kinds(self) -> list[Kind]:
        """The kinds of faults that there can be."""
        return [
            kind for kind in KINDS
            if (self.server or kind.target not in (_P, _R, _B))
            and (self.group or kind is not NODE_MOVE)
            and self.only in kind.name]


@dataclasses.dataclass(frozen=True)
class Planned:
    """A fault that is to come.

    :param at: seconds after the start.
    :param target: number of the conductor or node; else 0.
    :param duration: seconds until it is undone.
    """

    at: float
    kind: Kind
    target: int
    duration: float

    @property
    def hits(self) -> set[tuple[Target, int]]:
        """What it breaks."""
        kinds = {_P, _Q} if self.kind.target is _R else {self.kind.target}
        return {(kind, self.target) for kind in kinds}

    @property
    def end(self) -> float:
        """Seconds after the start when its target may be hit again."""
        return self.at + self.duration + SETTLE

    def __str__(self) -> str:
        return (f'{self.at:.1f} s: {self.kind.name}, {self.target}, for '
                f'{self.duration:.1f} s')


def draw(setting: Setting, count: int, seed: int) -> list[Planned]:
    """A schedule; the same for the same arguments.

    Kinds are drawn from a bag, so that none is forgotten for long.

    :param count: how many faults.
    """
    chance = random.Random(seed)
    bag: list[Kind] = []
    plan: list[Planned] = []
    now = 0.0
    while len(plan) < count:
        now = round(now + chance.uniform(*PAUSE), 3)
        if len(bag) < _FEW:
            more = [kind for kind in setting.kinds()
                    for _ in range(kind.weight)]
            chance.shuffle(more)
            bag += more
        both = chance.random() < _BOTH
        for kind in bag:
            one = Planned(now, kind, _target(kind, setting, chance),
                          _duration(kind, setting, chance))
            if _fits(one, plan, both):
                bag.remove(kind)
                plan.append(one)
                break
    return plan


def _target(kind: Kind, setting: Setting, chance: random.Random) -> int:
    if kind.target in (_C, _P, _Q, _R):
        return chance.randrange(setting.conductors)
    if kind.target is _N:
        return chance.randrange(setting.nodes)
    return 0


def _duration(kind: Kind, setting: Setting, chance: random.Random) -> float:
    long = kind.length is _LONG or (
        kind.length is _ANY and chance.random() < 0.5)
    span = ((setting.timeout + 1.5, setting.timeout + 5.0) if long
            else (0.3, setting.timeout / 2))
    return round(chance.uniform(*span), 3)


def _fits(one: Planned, plan: list[Planned], both: bool) -> bool:
    """Whether a fault may come now.

    :param both: even if a second conductor is lost then.
    """
    lasting = [other for other in plan if other.end > one.at]
    if any(other.hits & one.hits for other in lasting):
        return False
    return both or one.kind.target not in _AWAY or not any(
        other.kind.target in _AWAY and other.target != one.target
        for other in lasting)

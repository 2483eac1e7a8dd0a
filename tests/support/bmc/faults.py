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

"""A bad network and a bad BMC, switchable at any time and in any thread.

What happens to a datagram is decided here, and carried out by the BMC's
loop. Everything comes from one seed a direction.
"""

import dataclasses
import random
import threading

#: What a packet is, for the rules that pick single ones: ('payload', type)
#: of a login, ('answer', network function, command), ('request', ...), or
#: ('sol', 'data') and ('sol', 'ack').
Label = tuple[str, int] | tuple[str, int, int] | tuple[str, str]

#: Seconds to wait, and what is then delivered.
Delivery = tuple[float, bytes]


@dataclasses.dataclass
class Direction:
    """What happens to datagrams one way; probabilities are 0 to 1.

    :param drop: it is lost.
    :param duplicate: it comes twice, the second time after ``late``.
    :param reorder: it comes after ``late``, others overtake it.
    :param late: seconds, from and to.
    :param delay: seconds that every datagram takes, from and to.
    :param truncate: its end is missing.
    :param mutate: one bit is flipped, after it was sealed.
    :param forge: a copy with a flipped bit comes before it.
    :param garbage: random bytes come before it.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    late: tuple[float, float] = (0.003, 0.03)
    delay: tuple[float, float] = (0.0, 0.0)
    truncate: float = 0.0
    mutate: float = 0.0
    forge: float = 0.0
    garbage: float = 0.0


class Faults:
    """The faults of one BMC. All off at first.

    :param seed: same seed and same packets: same faults.
    """

    def __init__(self, seed: str) -> None:
        self._mutex = threading.Lock()
        #: From the console, and to it.
        self.inbound = Direction()
        self.outbound = Direction()
        #: Nothing comes in and nothing goes out.
        self.black_hole = False
        #: Seconds that the BMC thinks about everything that comes.
        self.answer_delay = 0.0
        self._lose: dict[Label, int] = {}
        self._slow: dict[Label, float] = {}
        self._chance_in = random.Random(f'{seed} in')
        self._chance_out = random.Random(f'{seed} out')

    def both(self, **changes: float | tuple[float, float]) -> None:
        """Change both directions alike.

        :param changes: fields of Direction.
        """
        self.inbound = dataclasses.replace(
            self.inbound, **changes)    # type: ignore[arg-type]
        self.outbound = dataclasses.replace(
            self.outbound, **changes)   # type: ignore[arg-type]

    def clear(self) -> None:
        """Switch everything off."""
        self.inbound = Direction()
        self.outbound = Direction()
        self.black_hole = False
        self.answer_delay = 0.0
        with self._mutex:
            self._lose.clear()
            self._slow.clear()

    def lose_answers(self, command: tuple[int, int], times: int = 1) -> None:
        """Lose the next answers to a command; it is carried out."""
        self._lose_label(('answer', *command), times)

    def lose_payloads(self, kind: int, times: int = 1) -> None:
        """Lose the next login messages of one payload type (11h, 13h,
        15h) from the BMC.
        """
        self._lose_label(('payload', int(kind)), times)

    def lose_sol(self, what: str, times: int = 1) -> None:
        """Lose the next SOL packets to the console.

        :param what: 'data', or 'ack' for those without characters.
        """
        self._lose_label(('sol', what), times)

    def _lose_label(self, label: Label, times: int) -> None:
        with self._mutex:
            self._lose[label] = times

    def slow_answers(self, command: tuple[int, int], seconds: float) -> None:
        """Delay all answers to a command; 0 ends it."""
        with self._mutex:
            self._slow['answer', command[0], command[1]] = seconds

    # For the BMC.

    def incoming(self, datagram: bytes) -> list[Delivery]:
        """What becomes of a datagram from the console."""
        if self.black_hole:
            return []
        return self._plan(datagram, self.inbound, self._chance_in,
                          self.answer_delay)

    def outgoing(self, datagram: bytes, label: Label) -> list[Delivery]:
        """What becomes of a datagram to the console."""
        if self.black_hole:
            return []
        with self._mutex:
            left = self._lose.get(label, 0)
            if left:
                self._lose[label] = left - 1
                return []
            slow = self._slow.get(label, 0.0)
        return self._plan(datagram, self.outbound, self._chance_out, slow)

    @staticmethod
    def _plan(datagram: bytes, way: Direction, chance: random.Random,
              delay: float) -> list[Delivery]:
        def happens(probability: float) -> bool:
            return probability > 0 and chance.random() < probability

        if way.delay[1]:
            delay += chance.uniform(*way.delay)
        plan: list[Delivery] = []
        if happens(way.garbage):
            plan.append((delay, garbage(chance)))
        if happens(way.forge):
            plan.append((delay, flip_a_bit(datagram, chance)))
        if happens(way.drop):
            return plan
        if happens(way.truncate):
            datagram = datagram[:chance.randrange(len(datagram))]
        elif happens(way.mutate):
            datagram = flip_a_bit(datagram, chance)
        if happens(way.reorder):
            delay += chance.uniform(*way.late)
        plan.append((delay, datagram))
        if happens(way.duplicate):
            plan.append((delay + chance.uniform(*way.late), datagram))
        return plan


def garbage(chance: random.Random) -> bytes:
    """Random bytes; half of them begin as an RMCP+ packet does."""
    start = b'\x06\x00\xff\x07\x06' if chance.random() < 0.5 else b''
    return start + chance.randbytes(chance.randrange(1, 600))


def flip_a_bit(data: bytes, chance: random.Random) -> bytes:
    """A copy with one bit changed."""
    at = chance.randrange(8 * len(data))
    copy = bytearray(data)
    copy[at // 8] ^= 1 << at % 8
    return bytes(copy)

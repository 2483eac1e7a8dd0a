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

"""Which of many equal events are told in the log."""

import collections

#: Seconds in which one source is told of once.
INTERVAL = 60.0

#: Sources that are remembered; the one told longest ago is forgotten.
MAX_SOURCES = 1024


class Quiet:
    """Lets one event of each source through in a while, and counts."""

    def __init__(self) -> None:
        # By source: when it was told, and events that were not.
        self._told: collections.OrderedDict[
            str, tuple[float, int]] = collections.OrderedDict()

    def note(self, source: str, now: float) -> int | None:
        """Whether an event is to be told.

        :param source: where it comes from.
        :param now: seconds.
        :returns: how many of this source were not told since the last one
            that was; None if this one is not to be told either.
        """
        told = self._told.get(source)
        if told is not None and now - told[0] < INTERVAL:
            self._told[source] = (told[0], told[1] + 1)
            return None
        self._told[source] = (now, 0)
        self._told.move_to_end(source)
        if len(self._told) > MAX_SOURCES:
            self._told.popitem(last=False)
        return told[1] if told else 0

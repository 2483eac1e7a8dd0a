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

"""Who of the people at a console may write."""

import collections.abc
import typing

T = typing.TypeVar('T', bound=collections.abc.Hashable)


class Writers(typing.Generic[T]):
    """Decides whose input passes.

    In shared mode that of all, in exclusive mode that of who came first.
    An operator may take the write right for himself alone, in either mode,
    until he leaves or gives it back.

    :param exclusive: the mode.
    """

    __slots__ = ('_exclusive', '_order', '_sole')

    def __init__(self, exclusive: bool) -> None:
        self._exclusive = exclusive
        #: In the order in which they came.
        self._order: dict[T, None] = {}
        self._sole: T | None = None

    def came(self, viewer: T) -> None:
        """Somebody came who wants to write."""
        self._order[viewer] = None

    def left(self, viewer: T) -> None:
        """Somebody has left, who wanted to write or not."""
        self._order.pop(viewer, None)
        self.give_back(viewer)

    def take(self, viewer: T) -> None:
        """One who came to write is the only one to write from now on."""
        if viewer in self._order:
            self._sole = viewer

    def give_back(self, viewer: T) -> None:
        """What was taken is over; nothing if it was not by him."""
        if self._sole == viewer:
            self._sole = None

    def clear(self) -> None:
        """All have left."""
        self._order.clear()
        self._sole = None

    def may_write(self, viewer: T) -> bool:
        """Whether his input passes."""
        if self._sole is not None:
            return self._sole == viewer
        if self._exclusive:
            return next(iter(self._order), None) == viewer
        return viewer in self._order

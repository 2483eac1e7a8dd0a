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

"""Makes Ironic's hardware types accept this console interface.

Ironic takes an interface only if the hardware type lists its class, and
offers no way to add to that list from outside. Interfaces are loaded after
the hardware types and before the lists are first read, so the properties
are replaced then.
"""

from collections.abc import Iterator
import typing

from ironic.drivers import generic
from ironic.drivers import hardware_type
from ironic.drivers import ipmi
from ironic.drivers import redfish
from ironic.drivers.modules import ipmitool

_LIST = 'supported_console_interfaces'

#: These are bases of types that we have nothing to do with.
_BASES = frozenset({hardware_type.__name__, generic.__name__})


def accept(interface: type) -> None:
    """Let every fitting hardware type accept a console interface.

    Fitting is what lists IPMISocatConsole, and redfish with the types made
    from it. The interface is added last: a default is the first in the
    list that is enabled, so each default stays what it was. Calling this
    again changes nothing.

    :param interface: class of the console interface.
    """
    if _LIST not in vars(redfish.RedfishHardware):
        # up to 28 it has no list of its own; the base must not get ours
        def inherited(self: typing.Any) -> list[type]:
            listed = super(redfish.RedfishHardware, self)
            return list(getattr(listed, _LIST))
        setattr(redfish.RedfishHardware, _LIST, property(inherited))
    for cls in (ipmi.IPMIHardware, redfish.RedfishHardware,
                *_descendants(hardware_type.AbstractHardwareType)):
        own = vars(cls).get(_LIST)
        if (own is None or isinstance(own, _Extended)
                or cls.__module__ in _BASES):
            continue
        setattr(cls, _LIST, _Extended(own, interface))


class _Extended(property):
    """A list of console interfaces with one more at its end."""

    def __init__(self, original: typing.Any, interface: type) -> None:
        def listed(self: typing.Any) -> list[type]:
            bound = (original.__get__(self, type(self))
                     if hasattr(original, '__get__') else original)
            # a subclass that adds to its parent's list finds ours in it
            classes = [cls for cls in bound if cls is not interface]
            if (ipmitool.IPMISocatConsole in classes
                    or isinstance(self, redfish.RedfishHardware)):
                classes.append(interface)
            return classes
        super().__init__(listed, doc=getattr(original, '__doc__', None))


def _descendants(cls: type) -> Iterator[type]:
    subclass: type
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _descendants(subclass)

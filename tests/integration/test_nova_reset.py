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

"""What Nova's Ironic driver does to a console, and what is noticed of it.

:mod:`tests.integration.test_reset` has the same by hand, where each step
can be looked at. Here the driver does it: it alone decides on the order and
the pauses.
"""

import collections.abc
import contextlib
import time

import pytest

from tests.support import api_gate
from tests.support import bmc as model
from tests.support import nova_cloud
from tests.support import viewers
from tests.support import waiting

NovaCloud = nova_cloud.NovaCloud
Machine = nova_cloud.Machine

pytestmark = pytest.mark.nova

#: Seconds; a reset has four waits of up to 10 s at most.
PATIENCE = 60.0

GET, ON, OFF = 'GET', 'PUT on', 'PUT off'


@pytest.fixture
def bmc() -> collections.abc.Iterator[model.ModelBmc]:
    """A BMC that counts, and keeps output for as long as a test takes."""
    with model.ModelBmcs(model.BmcOptions(
            sol=model.SolOptions(retry_count=10_000))) as (one,):
        yield one


@pytest.fixture
def machine(cloud: NovaCloud, bmc: model.ModelBmc
            ) -> collections.abc.Iterator[Machine]:
    """Somebody's server, with its console on."""
    with cloud.deploy(bmc) as one:
        waiting.wait_until(lambda: len(bmc.journal.activations) == 1,
                           'the first activation')
        yield one


def steps(calls: list[api_gate.Call]) -> list[str]:
    """What was asked for, with GETs in a row as one."""
    found: list[str] = []
    for call in calls:
        name = (GET if call.method == 'GET'
                else ON if call.body['enabled'] else OFF)
        if not (name == GET and found[-1:] == [GET]):
            found.append(name)
    return found


def check_undisturbed(bmc: model.ModelBmc) -> None:
    """The BMC has seen one login and one activation, and no end."""
    assert len(bmc.journal.logins) == 1
    assert len(bmc.journal.activations) == 1
    assert not bmc.journal.payload_ends
    assert not bmc.journal.session_ends


@contextlib.contextmanager
def two_viewers(cloud: NovaCloud, machine: Machine
                ) -> collections.abc.Iterator[list[viewers.Viewer]]:
    """Two people at a console, who have seen nothing yet."""
    with viewers.Viewer(machine.url) as first, viewers.Viewer(
            machine.url) as second:
        waiting.wait_until(lambda: cloud.viewers(machine) == 2,
                           'two viewers at the console')
        yield [first, second]


def check_all_there(people: list[viewers.Viewer], text: bytes) -> None:
    """Nobody was disconnected, and all that was printed has come."""
    for viewer in people:
        viewer.wait_exactly(text, timeout=PATIENCE)
        assert not viewer.closed


def record(capsys: pytest.CaptureFixture[str], cloud: NovaCloud,
           before: tuple[int, int], resets: list[float]) -> None:
    """Print what the conductor has measured, which is no assertion."""
    stops = cloud.timings.of(nova_cloud.STOP)[before[0]:]
    starts = cloud.timings.of(nova_cloud.START)[before[1]:]
    with capsys.disabled():
        print('\n  inside Ironic:', ', '.join(
            f'{name} ' + ' '.join(f'{figure:.1f}' for figure in figures)
            for name, figures in (('stops', stops), ('starts', starts))),
            'ms; resets as Nova sees them:',
            ' '.join(f'{seconds:.1f}' for seconds in resets), 's')


def counts(cloud: NovaCloud) -> tuple[int, int]:
    """How many stops and starts there have been."""
    return (len(cloud.timings.of(nova_cloud.STOP)),
            len(cloud.timings.of(nova_cloud.START)))


def test_three_resets_are_not_noticed(
        cloud: NovaCloud, machine: Machine, bmc: model.ModelBmc,
        capsys: pytest.CaptureFixture[str]) -> None:
    before = counts(cloud)
    took = []
    with two_viewers(cloud, machine) as people:
        with nova_cloud.Printing(bmc) as printing:
            for _ in range(3):
                cloud.gate.calls.clear()
                console = cloud.nova.reset(machine.instance).result(PATIENCE)
                assert machine.url == 'tcp://{host}:{port}'.format(**console)
                took.append(console['seconds'])
                calls = cloud.gate.of_consoles()
                assert steps(calls) == [GET, OFF, GET, ON, GET]
                failed = [str(call) for call in calls if call.status >= 400]
                assert not failed, f'Ironic has refused {failed}'
        check_all_there(people, printing.text)
        people[1].send(b'still here')
        bmc.host.wait_received(b'still here')
    check_undisturbed(bmc)
    record(capsys, cloud, before, took)


def test_three_resets_at_the_same_time_are_not_noticed(
        cloud: NovaCloud, machine: Machine, bmc: model.ModelBmc,
        capsys: pytest.CaptureFixture[str]) -> None:
    """Within two seconds, as one tab of Horizon makes them.

    They get into each other's way: Nova gives up where it finds that the
    console is off, because another reset is under way. Who is at the
    console does not notice.
    """
    before = counts(cloud)
    with two_viewers(cloud, machine) as people:
        with nova_cloud.Printing(bmc) as printing:
            began = time.monotonic()
            resets = []
            for number in range(3):
                waiting.wait_until(
                    lambda due=number * 0.6:    # type: ignore[misc]
                    time.monotonic() - began >= due, 'its turn')
                resets.append(cloud.nova.reset(machine.instance))
            took = []
            for reset in resets:
                error = reset.exception(PATIENCE)
                if error is None:
                    took.append(reset.result()['seconds'])
                else:
                    assert 'ConsoleTypeUnavailable' in str(error)
        assert took, 'all three have failed'
        state = cloud.ironic.api.console(machine.node)
        assert state['console_enabled'], state
        check_all_there(people, printing.text)
        people[0].send(b'still here')
        bmc.host.wait_received(b'still here')
    check_undisturbed(bmc)
    record(capsys, cloud, before, took)


def test_nothing_passes_between_off_and_on(
        cloud: NovaCloud, machine: Machine, bmc: model.ModelBmc) -> None:
    with two_viewers(cloud, machine) as people:
        bmc.host.send(b'before')
        check_all_there(people, b'before')
        with contextlib.ExitStack() as stack:
            stack.callback(cloud.gate.let_go)
            cloud.gate.calls.clear()
            cloud.gate.hold(lambda call: call.body == {'enabled': True})
            reset = cloud.nova.reset(machine.instance)
            waiting.wait_until(
                lambda: ON in steps(cloud.gate.of_consoles()),
                'Nova to switch the console on again', PATIENCE)
            bmc.host.send(b', while it is off')
            people[0].send(b'typed')
            with viewers.Viewer(machine.url) as late:
                late.wait_closed()
                assert b'while it is off' not in late.data
            waiting.always(
                lambda: not bmc.host.received and all(
                    viewer.data == b'before' for viewer in people),
                'no byte passes', 1.0)
        assert reset.result(PATIENCE)
        check_all_there(people, b'before, while it is off')
        bmc.host.wait_received(b'typed')
    check_undisturbed(bmc)

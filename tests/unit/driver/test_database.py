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

"""How old the last contact with the database is."""

import collections.abc
import threading
import types
import typing

from ironic.common import exception as ironic_exception
from ironic.conf import CONF
import pytest

from ironic_solconsole.driver import database
from tests.support import waiting


@pytest.fixture
def contacts() -> collections.abc.Iterator[
        collections.abc.Callable[..., database.Contact]]:
    made: list[database.Contact] = []

    def make(ask: collections.abc.Callable[[], object],
             interval: float = 0.01) -> database.Contact:
        made.append(database.Contact(ask, interval))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_it_is_young_while_the_database_answers(
        contacts: collections.abc.Callable[..., database.Contact]) -> None:
    contact = contacts(lambda: None)
    waiting.always(lambda: contact.age() < 0.3, 'it is young', 0.5)


@pytest.mark.parametrize('how', ['fails', 'hangs'])
def test_it_grows_old_while_it_does_not(
        how: str,
        contacts: collections.abc.Callable[..., database.Contact]) -> None:
    away, back = threading.Event(), threading.Event()

    def ask() -> None:
        if away.is_set() and not back.is_set():
            if how == 'fails':
                raise RuntimeError('gone away')
            back.wait(30)
            raise RuntimeError('too late')

    contact = contacts(ask)
    away.set()
    waiting.wait_until(lambda: contact.age() > 0.4, 'an old contact')
    back.set()
    waiting.wait_until(lambda: contact.age() < 0.2, 'a new contact')


def test_a_question_that_was_answered_late_counts_from_its_start(
        contacts: collections.abc.Callable[..., database.Contact]) -> None:
    asked, answer = threading.Event(), threading.Event()

    def ask() -> None:
        asked.set()
        answer.wait(30)

    contact = contacts(ask, 60.0)
    assert asked.wait(10)
    waiting.wait_until(lambda: contact.age() > 0.3, 'some time')
    answer.set()
    waiting.always(lambda: contact.age() > 0.3, 'the age remains', 0.2)


@pytest.mark.parametrize('connection', [
    'sqlite:////var/lib/ironic.sqlite', 'mysql+pymysql://db/ironic'])
def test_sqlite_has_no_other_conductor(
        connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def get_conductor(host: str) -> None:
        asked.append(host)
        raise ironic_exception.ConductorNotFound(conductor=host)

    manager: typing.Any = types.SimpleNamespace(
        host='cond-a',
        dbapi=types.SimpleNamespace(get_conductor=get_conductor))
    monkeypatch.setattr(database, 'CONF', types.SimpleNamespace(
        database=types.SimpleNamespace(connection=connection),
        conductor=CONF.conductor))
    contact = database.contact(manager)
    if connection.startswith('sqlite'):
        assert contact is None
        return
    assert contact is not None
    contact._ask()      # an unknown conductor is an answer
    assert asked == ['cond-a']

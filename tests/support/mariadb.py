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

"""A MariaDB server of our own on a loopback port.

::

    with MariaDb() as database:
        database.execute('UPDATE nodes SET maintenance=1')
        database.pause()

It starts in half a second. What prepare() makes of the first data
directory (tables, for instance) is kept for the other servers of this test
process, which start with a copy.
"""

import atexit
import collections.abc
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import typing

import pymysql

from tests.support import ports
from tests.support import processes
from tests.support import waiting

NAME = 'ironic'

Prepare = collections.abc.Callable[['MariaDb'], None]

#: Small buffers, and no flush to disk at each commit: nothing here must
#: survive the machine, while the server itself may be killed.
_OPTIONS = (
    '--skip-name-resolve', '--performance-schema=OFF',
    '--innodb-buffer-pool-size=16M', '--innodb-log-file-size=8M',
    '--innodb-log-buffer-size=1M', '--innodb-flush-log-at-trx-commit=2',
    '--key-buffer-size=1M', '--aria-pagecache-buffer-size=1M',
    '--max-connections=300')

_templates: dict[object, pathlib.Path] = {}


class MariaDb:
    """A server with one database; started and stopped as often as wished.

    :param prepare: called once a test process with a server that runs, to
        make tables; its data directory is copied from then on.
    """

    def __init__(self, prepare: Prepare | None = None) -> None:
        self._prepare = prepare
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='mariadb.'))
        self.port = ports.free_port()
        self.log = self.directory / 'mariadbd.log'
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> 'MariaDb':
        try:
            self.install()
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.destroy()

    @property
    def url(self) -> str:
        """For ``[database]connection``."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """For ``[database]connection``, by way of a proxy."""
        return (f'mysql+pymysql://root@127.0.0.1:{port}/{NAME}'
                '?charset=utf8mb4')

    @property
    def _data(self) -> pathlib.Path:
        return self.directory / 'data'

    # Life

    def install(self) -> None:
        """Make the data directory."""
        if self._prepare not in _templates:
            self._make_template()
        shutil.copytree(_templates[self._prepare], self._data)

    def _make_template(self) -> None:
        done = subprocess.run(
            [_command('mariadb-install-db'), '--no-defaults',
             f'--datadir={self._data}', *_user(), '--skip-test-db',
             '--auth-root-authentication-method=normal', *_OPTIONS],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120.0,
            check=False)
        assert done.returncode == 0, (
            f'mariadb-install-db failed: {done.stdout[-1000:]!r} '
            f'{done.stderr[-1000:]!r}')
        self.start()
        with self._connect('mysql') as connection:
            connection.cursor().execute(
                f'CREATE DATABASE {NAME} CHARACTER SET utf8mb4')
        if self._prepare is not None:
            self._prepare(self)
        self.stop()
        template = pathlib.Path(tempfile.mkdtemp(prefix='mariadb.'))
        atexit.register(shutil.rmtree, template, ignore_errors=True)
        os.rename(self._data, template / 'data')
        _templates[self._prepare] = template / 'data'

    def start(self, wait: bool = True) -> None:
        """Start it. Only from the main thread.

        :param wait: until it takes connections.
        """
        assert self.process is None, 'it runs'
        with self.log.open('ab') as log:
            self.process = subprocess.Popen(
                processes.die_with_us([
                    _command('mariadbd'), '--no-defaults',
                    f'--datadir={self._data}', *_user(),
                    f'--port={self.port}', '--bind-address=127.0.0.1',
                    f'--socket={self.directory}/sock',
                    f'--pid-file={self.directory}/pid', *_OPTIONS]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it takes connections."""
        process = self.process
        assert process is not None

        def ready() -> bool:
            if process.poll() is None:
                with self._connect('mysql') as connection:
                    connection.ping()
            return True

        waiting.wait_until(ready, 'a MariaDB server that answers', 60.0,
                           seen=self.log_tail)
        assert process.poll() is None, (
            f'mariadbd ended with {process.returncode}: {self.log_tail()}')

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, and wait for the end: connections are closed."""
        if self.process is not None:
            processes.end(self.process, 30.0)
            self.process = None

    def kill(self) -> None:
        """Kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10.0)
            self.process = None

    def restart(self) -> None:
        """Stop it if it runs, and start it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it takes connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process is not None and self.process.poll() is None

    def destroy(self) -> None:
        """Kill it and remove its files."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self) -> str:
        """The end of what it printed."""
        if not self.log.exists():
            return ''
        return self.log.read_text(errors='replace')[-3000:]

    # Statements

    def execute(self, statement: str, *values: object) -> int:
        """Run a statement and commit it.

        :param values: for each ``%s`` in it.
        :returns: number of rows that it changed.
        """
        with self._connect(NAME) as connection:
            with connection.cursor() as cursor:
                return int(cursor.execute(statement, values))

    def query(self, statement: str, *values: object
              ) -> list[dict[str, typing.Any]]:
        """All rows that a statement gives.

        :param values: for each ``%s`` in it.
        """
        with self._connect(NAME) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())

    @contextlib.contextmanager
    def _connect(self, database: str) -> collections.abc.Iterator[
            'pymysql.connections.Connection[typing.Any]']:
        connection = pymysql.connect(
            host='127.0.0.1', port=self.port, user='root',
            database=database, autocommit=True, connect_timeout=5,
            read_timeout=10, write_timeout=10,
            cursorclass=pymysql.cursors.DictCursor)
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError, pymysql.err.Error):
                connection.close()


def _command(name: str) -> str:
    path = shutil.which(name, path=f'{os.environ["PATH"]}:/usr/sbin')
    assert path, f'{name} is not installed (Debian: mariadb-server)'
    return path


def _user() -> list[str]:
    """mariadbd refuses to run as root unless it is told to."""
    return ['--user=root'] if os.getuid() == 0 else []

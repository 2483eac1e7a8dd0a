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

"""Horizon's page of a serial console, and a browser that looks at it.

::

    with Page('bare metal', nova.get_url(instance)) as page:
        with Browser() as browser:
            browser.open(page.url)
            browser.wait_for('login:')
            browser.type('root')
            browser.save('login.png')

The page is made by Horizon itself, from the environment that
SOLCONSOLE_HORIZON_BIN names (``horizon_side/page.py``); the browser is
Debian's Chromium without a window.
"""

import os
import pathlib
import subprocess
import tempfile
import urllib.request
import uuid

from selenium import webdriver
from selenium.webdriver.chrome import service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from tests.support import ports
from tests.support import processes
from tests.support import waiting

#: Directory with Horizon's Python.
BIN_VARIABLE = 'SOLCONSOLE_HORIZON_BIN'

SIDE = pathlib.Path(__file__).with_name('horizon_side')

CHROMIUM, DRIVER = '/usr/bin/chromium', '/usr/bin/chromedriver'

#: Seconds for Horizon to load.
START_TIMEOUT = 90.0

#: What Chromium does by itself, or cannot do in a container.
_ARGUMENTS = (
    '--headless=new', '--no-sandbox', '--disable-gpu',
    '--disable-dev-shm-usage', '--window-size=1000,640', '--lang=en',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1')


class Page:
    """The web server with the page.

    :param name: of the server, for the title.
    :param console_url: the WebSocket's, as Nova gives it.
    """

    def __init__(self, name: str, console_url: str) -> None:
        self._words = [name, console_url]
        self._port = ports.free_port()
        self._directory = tempfile.TemporaryDirectory(prefix='horizon.')
        self._log = pathlib.Path(self._directory.name, 'log')
        self._process: subprocess.Popen[bytes] | None = None
        self.url = (f'http://127.0.0.1:{self._port}/project/instances/'
                    f'{uuid.uuid4()}/serial')

    def __enter__(self) -> 'Page':
        value = os.environ.get(BIN_VARIABLE)
        assert value, (
            f'the environment variable {BIN_VARIABLE} must name the bin '
            'directory of a virtual environment with Horizon; '
            'tools/long.sh makes one (tools/requirements/horizon.txt)')
        environment = {key: text for key, text in os.environ.items()
                       if key not in ('PYTHONHOME', 'VIRTUAL_ENV')}
        with self._log.open('wb') as log:
            self._process = subprocess.Popen(
                processes.die_with_us([
                    str(pathlib.Path(value, 'python')),
                    str(SIDE / 'page.py'), str(self._port), *self._words]),
                env={**environment, 'PYTHONPATH': str(SIDE)},
                cwd=self._directory.name, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        try:
            waiting.wait_until(
                self._answers, "Horizon's page", START_TIMEOUT, 0.2,
                seen=lambda: self._log.read_text(errors='replace')[-2000:])
        except BaseException:
            self.__exit__()
            raise
        return self

    def _answers(self) -> bool:
        with urllib.request.urlopen(self.url, timeout=60.0) as answer:
            return bool(answer.status == 200)

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            processes.end(self._process)
        self._directory.cleanup()


class Browser:
    """Chromium with a page of a serial console."""

    def __enter__(self) -> 'Browser':
        for path in (CHROMIUM, DRIVER):
            assert pathlib.Path(path).exists(), (
                f'there is no {path} (Debian: chromium, chromium-driver)')
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for word in _ARGUMENTS:
            options.add_argument(word)
        self._driver = webdriver.Chrome(
            options, service.Service(DRIVER))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._driver.quit()

    def open(self, url: str) -> None:
        """Go to a page, and put the cursor into its terminal."""
        self._driver.get(url)
        self._driver.find_element(By.CLASS_NAME, 'terminal').click()

    def type(self, text: str) -> None:
        """Press keys."""
        ActionChains(self._driver).send_keys(text).perform()

    @property
    def screen(self) -> str:
        """What the terminal shows, in lines without blanks at the end."""
        rows = self._driver.execute_script(
            "return Array.from(document.querySelectorAll('.terminal > div'),"
            'row => row.textContent)')
        return '\n'.join(
            str(row).replace('\xa0', ' ').rstrip() for row in rows)

    @property
    def status(self) -> str:
        """What the page says of its connection."""
        body = self._driver.find_element(By.TAG_NAME, 'body').text
        return str(body).rpartition('Status: ')[2]

    def wait_for(self, text: str, timeout: float = 60.0) -> str:
        """Wait until the terminal shows some text; gives the screen."""
        waiting.wait_until(lambda: text in self.screen, f'{text!r} on the '
                           'screen', timeout, 0.1,
                           seen=lambda: (self.screen, self.status))
        return self.screen

    def save(self, path: pathlib.Path) -> None:
        """Save a picture of the page."""
        assert self._driver.save_screenshot(str(path))

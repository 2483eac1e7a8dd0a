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

"""The devstack plugin in an environment that is made of stubs.

What devstack offers its plugins is replaced by functions that write down
how they were called; ``iniset`` and ``iniget`` work, and ``virsh`` keeps a
domain in a file.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import textwrap

ROOT = pathlib.Path(__file__).parents[2]

#: A node as Ironic's own plugin makes it, as far as it matters here.
DOMAIN = """
<domain type='kvm'>
  <name>node-0</name>
  <os><type>hvm</type><boot dev='network'/></os>
  <devices>
    <interface type='direct'><source dev='tap-node-0i1'/></interface>
    <serial type='file'>
      <source path='/var/log/node-0.log'/><target port='0'/>
    </serial>
    <serial type='pty'><target port='1'/></serial>
    <console type='file'>
      <source path='/var/log/node-0.log'/>
      <target type='serial' port='0'/>
    </console>
  </devices>
</domain>
"""

_FUNCTIONS = """
    noted() { printf '%q ' "$@" >>"$NOTES"; echo >>"$NOTES"; }
    for name in define_plugin plugin_requires enable_service install_package \\
        setup_develop run_process stop_process start_service stop_service \\
        openstack redis-cli echo_summary; do
        eval "$name() { noted $name \"\\$@\"; }"
    done
    die() { shift; echo "$*" >&2; exit 1; }
    is_ubuntu() { [ "$DISTRIBUTION" = ubuntu ]; }
    is_service_enabled() {
        [[ " $SERVICES " == *" $1 "* ]]
    }
    iniget() { python3 "$STUBS/ini.py" "$@"; }
    iniset() { python3 "$STUBS/ini.py" "$@"; }
    sudo() { "$@"; }
"""

_INI = """
    import configparser
    import sys
    path, section, option, *value = sys.argv[1:]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    if value:
        if section != 'DEFAULT' and not parser.has_section(section):
            parser.add_section(section)
        parser.set(section, option, value[0])
        with open(path, 'w') as file:
            parser.write(file)
    else:
        print(parser.get(section, option, fallback=''))
"""

_VIRSH = """
    #!/bin/bash
    # virsh [-c URI] COMMAND NODE: a domain is NODE.xml and NODE.state
    [ "$1" != -c ] || shift 2
    command=$1
    shift
    echo "$command $*" >>"$STUBS/virsh.log"
    node=$STUBS/${!#}
    case "$command" in
        dumpxml) cat "$node.xml" ;;
        define) cat >"$STUBS/defined" && mv "$STUBS/defined" \\
            "$STUBS/$(grep -o '<name>[^<]*' "$STUBS/defined" |
                cut -c7-).xml" ;;
        domstate) cat "$node.state" ;;
        start) echo running >"$node.state" ;;
        destroy | shutdown) echo 'shut off' >"$node.state" ;;
        reset) ;;
        *) exit 1 ;;
    esac
"""


class Devstack:
    """What stack.sh, unstack.sh and clean.sh do, in a directory.

    :param directory: an empty one.
    :param settings: what local.conf sets.
    :param services: those that are enabled.
    :param distribution: 'ubuntu' or another one.
    """

    def __init__(self, directory: pathlib.Path,
                 services: str = 'ir-cond ir-sol-bmc etcd3',
                 distribution: str = 'ubuntu', **settings: str) -> None:
        self.directory = directory
        self.stubs = directory / 'stubs'
        self.stubs.mkdir()
        self.notes = directory / 'notes'
        self.notes.touch()
        self.ironic_conf = directory / 'ironic.conf'
        self.ironic_conf.write_text(
            '[DEFAULT]\nenabled_console_interfaces = no-console\n')
        self.data = directory / 'data' / 'solconsole'
        self._write('functions.sh', _FUNCTIONS)
        self._write('ini.py', _INI)
        virsh = self._write('virsh', _VIRSH)
        virsh.chmod(0o755)
        self.add_node('node-0')
        values = {
            'DEST': str(directory), 'DATA_DIR': str(directory / 'data'),
            'IRONIC_SOLCONSOLE_DIR': str(ROOT), 'SERVICES': services,
            'DISTRIBUTION': distribution, 'SERVICE_HOST': '192.0.2.1',
            'STACK_USER': str(os.getuid()),
            'IRONIC_CONF_FILE': str(self.ironic_conf),
            'IRONIC_STATE_PATH': str(directory / 'state'), **settings}
        self._local = ''.join(
            f'{name}={shlex.quote(value)}\n'
            for name, value in values.items())

    def _write(self, name: str, text: str) -> pathlib.Path:
        path = self.stubs / name
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    def add_node(self, name: str) -> None:
        """A libvirt domain that does not run."""
        self.domain_path(name).write_text(DOMAIN.replace('node-0', name))
        (self.stubs / f'{name}.state').write_text('shut off\n')

    def domain_path(self, name: str = 'node-0') -> pathlib.Path:
        """Where a domain's XML is."""
        return self.stubs / f'{name}.xml'

    def state(self, name: str = 'node-0') -> str:
        """Whether a domain runs."""
        return (self.stubs / f'{name}.state').read_text().strip()

    @property
    def environment(self) -> dict[str, str]:
        """For programs that call the stubs."""
        return {'PATH': f'{self.stubs}:{os.environ["PATH"]}',
                'STUBS': str(self.stubs), 'NOTES': str(self.notes)}

    def phase(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the plugin for one phase, as devstack does.

        Undefined variables are errors here, which they are not there.
        """
        script = (
            f'set -o errexit -o nounset -o pipefail\n'
            f'source {self.stubs}/functions.sh\n{self._local}'
            f'source {ROOT}/devstack/settings\n'
            f'source {ROOT}/devstack/plugin.sh {shlex.join(words)}\n')
        return subprocess.run(
            [shutil.which('bash') or 'bash', '-c', script],
            env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False)

    def run(self, *words: str) -> list[str]:
        """Run a phase that must succeed.

        :returns: what it has called, one line a call.
        """
        before = len(self.calls())
        done = self.phase(*words)
        assert done.returncode == 0, f'{words}: {done.stderr}'
        return self.calls()[before:]

    def calls(self) -> list[str]:
        """All calls of stubs, one line each."""
        return [line.strip().replace('\\', '')
                for line in self.notes.read_text().splitlines()]

    def option(self, section: str, name: str) -> str:
        """An option in ironic.conf."""
        done = subprocess.run(
            ['python3', self.stubs / 'ini.py', self.ironic_conf, section,
             name], capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

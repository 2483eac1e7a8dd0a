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

# Configuration of Sphinx.

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / '_ext'))

extensions = [
    'link_states',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
]

project = 'ironic-solconsole'
copyright = 'the authors of ironic-solconsole'
root_doc = 'index'
exclude_patterns: list[str] = []

# Version numbers would come from git tags that a clone need not have.
version = ''
release = ''

config_generator_config_file = [
    ('../../tools/config/solconsole.conf', '_static/solconsole'),
]
sample_config_basename = '_static/solconsole'

pygments_style = 'native'
graphviz_output_format = 'svg'
html_theme = 'openstackdocs'
html_theme_options = {'show_other_versions': False}
openstackdocs_auto_name = False
openstackdocs_auto_version = False

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

"""Horizon's settings, but for what would need the rest of a cloud."""

import os

from openstack_dashboard.settings import *  # noqa: F403

ALLOWED_HOSTS = ['127.0.0.1']
ROOT_URLCONF = 'page'
# nobody logs in
MIDDLEWARE = ()
TEMPLATES[0]['OPTIONS']['context_processors'] = [  # noqa: F405
    'django.template.context_processors.request',
    'django.template.context_processors.static']
COMPRESS_ENABLED = False
# what is compiled goes where the test has its files
STATIC_ROOT = COMPRESS_ROOT = os.path.join(os.getcwd(), 'static')

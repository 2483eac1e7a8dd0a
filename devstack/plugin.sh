#!/bin/bash
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

# devstack plugin of ironic-solconsole. devstack sources it with the phase
# as arguments: https://docs.openstack.org/devstack/latest/plugins.html

source "$IRONIC_SOLCONSOLE_DIR/devstack/lib/solconsole"

if is_service_enabled ir-cond; then
    case "$1/${2:-}" in
        stack/install)
            echo_summary "Installing ironic-solconsole"
            install_solconsole
            install_solconsole_backend
            ;;
        stack/post-config)
            echo_summary "Configuring ironic-solconsole"
            configure_solconsole_backend
            configure_solconsole
            ;;
        stack/extra)
            # Ironic's plugin has made and enrolled its nodes by now.
            if is_service_enabled ir-sol-bmc; then
                echo_summary "Starting BMCs with Serial over LAN"
                configure_solconsole_bmcs
                start_solconsole_bmcs
                enroll_solconsole_nodes
            fi
            ;;
        unstack/*) stop_solconsole ;;
        clean/*) cleanup_solconsole ;;
    esac
fi

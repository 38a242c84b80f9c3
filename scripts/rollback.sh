#!/bin/sh
PATH="$(dirname "$0")/../.venv/bin:$PATH" exec tfsctl rollback "$@"

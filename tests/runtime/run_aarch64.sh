#!/bin/sh
# Cross compiles the context switch for AArch64 and runs its test under qemu.
# Needs: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
set -eu
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
aarch64-linux-gnu-gcc -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -iquote src/runtime -static \
    tests/runtime/test_context.c src/runtime/context_aarch64.S -lpthread -o "$out/test_context"
timeout 120 qemu-aarch64 "$out/test_context"

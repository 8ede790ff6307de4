#!/usr/bin/env bash
# Runs the fast tests by Bazel without a network, as on Debian:
#   apt-get install bazel-bootstrap
#   tools/bazel_test.sh [PYTHON] [TARGETS...]
# PYTHON has the requirements installed; they take the place of @pypi. Bazel's
# rules that would be downloaded are replaced by the few lines needed of them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
shift || true

work=$(mktemp -d)
trap 'bazel --output_base="$work/base" shutdown >/dev/null 2>&1 || true
      chmod -R u+w "$work"; rm -rf "$work"' EXIT

stub() { # stub REPOSITORY FILE: standard input becomes FILE of a repository.
  mkdir -p "$(dirname "$work/$1/$2")"
  touch "$work/$1/WORKSPACE"
  cat >"$work/$1/$2"
}
stub rules_cc BUILD </dev/null
stub rules_cc cc/BUILD </dev/null
stub rules_cc cc/defs.bzl <<'STUB'
cc_library = native.cc_library
cc_binary = native.cc_binary
cc_import = native.cc_import
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
STUB
stub rules_java BUILD </dev/null
stub rules_java java/BUILD </dev/null
stub rules_java java/defs.bzl <<'STUB'
java_binary = native.java_binary
java_import = native.java_import
java_library = native.java_library
java_proto_library = native.java_proto_library
java_runtime = native.java_runtime
java_toolchain = native.java_toolchain
STUB
stub remote_coverage_tools BUILD <<'STUB'
package(default_visibility = ["//visibility:public"])
filegroup(name = "coverage_report_generator")
filegroup(name = "lcov_merger")
STUB
stub rules_python BUILD </dev/null
stub rules_python python/BUILD </dev/null
stub rules_python python/defs.bzl <<'STUB'
py_library = native.py_library
py_binary = native.py_binary
py_test = native.py_test
STUB
stub pypi BUILD </dev/null
git ls-files '*BUILD' | xargs grep -hoE '@pypi//[A-Za-z0-9_]+' | sort -u |
  while read -r label; do
    name=${label#@pypi//}
    echo "py_library(name = \"$name\", visibility = [\"//visibility:public\"])" |
      stub pypi "$name/BUILD"
  done

mkdir "$work/tree"
git ls-files | xargs cp --parents -t "$work/tree"
touch "$work/tree/WORKSPACE"
cd "$work/tree"
overrides=()
for name in rules_cc rules_java remote_coverage_tools rules_python pypi; do
  overrides+=("--override_repository=$name=$work/$name")
done
bazel --output_base="$work/base" build "${overrides[@]}" --nobuild \
  --noshow_progress //...  # All BUILD files, whichever tests are run.
bazel --output_base="$work/base" test "${overrides[@]}" \
  --jobs=2 --noshow_progress --nosandbox_debug --test_tag_filters=-slow --build_tests_only \
  --test_env=PATH="$(dirname "$python"):$PATH" --test_output=errors \
  --test_env=TF_CPP_MIN_LOG_LEVEL=2 "${@:-//...}"

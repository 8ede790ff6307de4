"""The one macro of the BUILD files: a package's library, tests and program."""

load("@rules_python//python:defs.bzl", "py_binary", "py_library", "py_test")

def python_package(deps = [], data = [], slow_tests = []):
    """Makes the targets of a folder from the files that are in it.

    Folders below without a BUILD file of their own are part of the package.

    Makes a py_library with the folder's name of all its Python files, the tests
    among them, which may borrow from one another; a py_test of each *_test.py; a
    py_binary "main" of a __main__.py; and a filegroup "files" of everything.

    Args:
      deps: Labels of the packages and distributions that the files import.
      data: Labels and names of the files that the package opens.
      slow_tests: Names of test files of ten seconds and more. The tag "slow"
        keeps them out of tools/bazel_test.sh.
    """
    name = native.package_name().split("/")[-1]
    tests = native.glob(["**/*_test.py"], allow_empty = True)
    for test in slow_tests:
        if test not in tests:
            fail("slow_tests: %s has no file %s" % (native.package_name(), test))
    py_library(
        name = name,
        testonly = native.package_name().split("/")[0] == "tests",
        srcs = native.glob(["**/*.py"], allow_empty = True),
        data = data,
        visibility = ["//visibility:public"],
        deps = deps,
    )
    for test in tests:
        py_test(
            name = test[:-len(".py")],
            srcs = [test],
            tags = ["slow"] if test in slow_tests else [],
            deps = [":" + name],
        )
    for program in native.glob(["__main__.py"], allow_empty = True):
        py_binary(
            name = "main",
            srcs = [program],
            main = program,
            deps = [":" + name],
        )
    native.filegroup(
        name = "files",
        srcs = native.glob(["**/*"], exclude = ["**/*.pyc"]),
        visibility = ["//visibility:public"],
    )

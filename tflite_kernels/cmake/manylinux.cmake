# Compiles for Linux with glibc 2.17 or later (manylinux_2_17, once manylinux2014), on any machine:
# with Zig's Clang, libc++ and glibc symbols. release/wheels.py sets the variables.
#
#   ACCQ_ZIG      Zig's program; PyPI's package ziglang has it
#   ACCQ_MACHINE  x86_64 or aarch64
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{ACCQ_MACHINE})
set(CMAKE_CXX_COMPILER $ENV{ACCQ_ZIG} c++)
set(CMAKE_CXX_COMPILER_TARGET $ENV{ACCQ_MACHINE}-linux-gnu.2.17)
# Zig brings what is needed; this machine's headers and libraries are of another glibc.
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# Without Zig's debug information of libc++, a factor of ten in size.
set(CMAKE_MODULE_LINKER_FLAGS_INIT -Wl,--strip-all)

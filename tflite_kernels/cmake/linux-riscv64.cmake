# Cross-compiles for 64-bit RISC-V Linux with the vector extension, with Debian's clang-19 and the
# libraries of g++-riscv64-linux-gnu; tests run in qemu-user. GCC 12 compiles for it too, without
# vectors: -DCMAKE_CXX_COMPILER=riscv64-linux-gnu-g++ -DCMAKE_CXX_FLAGS=.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR riscv64)
if(NOT CMAKE_CXX_COMPILER)
  set(CMAKE_CXX_COMPILER clang++-19)
  set(CMAKE_CXX_COMPILER_TARGET riscv64-linux-gnu)
  set(CMAKE_CXX_FLAGS_INIT -march=rv64gcv)
endif()
set(CMAKE_FIND_ROOT_PATH /usr/riscv64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-riscv64 -cpu "rv64,v=true,vlen=128" -L /usr/riscv64-linux-gnu)

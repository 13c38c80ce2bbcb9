# Everything outside this repository that Tessera stands on, all from the distribution's packages
# (tools/quickstart names and installs them).
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(dnnl REQUIRED)
find_package(HDF5 REQUIRED COMPONENTS C)
if(TESSERA_TESTS)
  find_package(GTest REQUIRED)
endif()

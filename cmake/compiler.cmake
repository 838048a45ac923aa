# Warnings and hardening for every target of the tree.
add_compile_options(
  -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
  -Wformat=2 -Wundef -Wvla -Wwrite-strings -Wno-unused-parameter -Wno-missing-field-initializers
  -fstack-protector-strong -fno-common -fno-strict-aliasing)
add_compile_definitions(_GNU_SOURCE POSTHOUSE_VERSION="${PROJECT_VERSION}")
add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,--as-needed)
# CMAKE_POSITION_INDEPENDENT_CODE alone compiles with -fPIE but does not link with -pie.
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

if(POSTHOUSE_WERROR)
  add_compile_options(-Werror)
endif()
if(POSTHOUSE_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=address,undefined)
else()
  add_compile_options($<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>)
endif()
if(POSTHOUSE_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
if(POSTHOUSE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

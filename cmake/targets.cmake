# posthouse_library(NAME SOURCES ... USES ...): one folder of lib/, one static library.  USES are the only other
# folders and external libraries whose headers it may include; tests/unit/check_layers.py reads these lines.
function(posthouse_library name)
  cmake_parse_arguments(L "" "" "SOURCES;USES" ${ARGN})
  add_library(${name} STATIC ${L_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/lib)
  target_link_libraries(${name} PUBLIC ${L_USES})
endfunction()

# posthouse_program(NAME FOLDER-TARGET INSTALL-DIR SOURCES ... USES ...): the folder's code as an object library
# (so that unit tests link it without main.c) and the program itself.
function(posthouse_program name destination)
  cmake_parse_arguments(P "" "" "SOURCES;USES" ${ARGN})
  add_library(${name}-code STATIC ${P_SOURCES})
  target_include_directories(${name}-code PUBLIC ${PROJECT_SOURCE_DIR}/lib ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name}-code PUBLIC ${P_USES})
  add_executable(${name} main.c)
  target_link_libraries(${name} PRIVATE ${name}-code)
  install(TARGETS ${name} DESTINATION ${destination})
endfunction()

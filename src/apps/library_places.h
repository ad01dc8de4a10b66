// Where libraries that do not come with the program may be: what the environment names, and the active Python.
// Threads: any, while nobody changes the environment.
#pragma once

#include <string>
#include <vector>

namespace dynamo::apps {

// The variable's value; empty if it is not set.
std::string variable(const char* name);
// The prefixes that these variables name, and those of the Pythons in $PATH; each once.
std::vector<std::string> library_prefixes(const std::vector<const char*>& variables);
// Folders that may hold CUDA's libraries: the toolkit's in $CUDA_HOME, and those of NVIDIA's wheels.
std::vector<std::string> cuda_folders();

}  // namespace dynamo::apps

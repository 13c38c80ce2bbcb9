// Loops worth compiling for several instruction sets, of which the dynamic loader picks one.
#pragma once

#if defined(__SANITIZE_ADDRESS__)  // runs after the loader
#define TESSERA_SIMT_CLONES
#else
#define TESSERA_SIMT_CLONES [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#endif

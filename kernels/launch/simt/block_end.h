// What must hold when a thread or a block ends.
#pragma once

namespace tessera::simt {

struct Block;
struct Fiber;

// No other lane waits for the thread that exits, and it has waited for its own copies.
void check_exit(const Fiber& fiber);
// No copies are in flight, barriers are empty, and shared memory is whole.
void end_block(Block& block);

}  // namespace tessera::simt

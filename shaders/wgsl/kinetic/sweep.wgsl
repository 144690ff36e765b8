// The shape of a sweep: a tile of rows and lanes, and the threads that work on it; part of kinetic.wgsl and wave_form.wgsl.
//
// Invariant: the host sets every constant (shaders/src/plan.rs); the values here are stand-ins.

// Work items in flight, rows and lanes of a tile, and their distances in memory and in the tile.
override THREADS: u32 = 64u;
override ROWS: u32 = 27u;
override LANES: u32 = 8u;
override ROW_STRIDE: u32 = 1u;
override LANE_STRIDE: u32 = 1u;
override ROW_PITCH: u32 = 1u;
override LANE_PITCH: u32 = 1u;
// One row of padding after each 2^PAD_SHIFT rows, against bank conflicts.
override PAD_SHIFT: u32 = 31u;
override TILE_LEN: u32 = 64u;
// Lanes of the torus, tiles that share an outer index, and nodes from one outer index to the next.
override LANE_COUNT: u32 = 8u;
override CHUNKS: u32 = 1u;
override OUTER_STRIDE: u32 = 0u;
override N_TILES: u32 = 1u;
// Whether neighbouring threads take neighbouring lanes, rather than neighbouring rows.
override LANES_FIRST: bool = true;
// The radices that occur.
override HAS_2: bool = true;
override HAS_3: bool = true;
override HAS_4: bool = true;
override HAS_5: bool = true;
override HAS_8: bool = true;
override HAS_9: bool = true;
override HAS_16: bool = true;
override HAS_27: bool = true;

// Rows: what every kernel of the denoiser works on. Shared source: no bindings, no entry point.
// Included by all files of this folder that have an entry point; its twin in Rust is `stage::denoise::network`.
//
// A call advances some channels by some hops. A slot is a channel's place among those of the call; a row is one hop of
// one slot, and rows are counted hop by hop: row = hop * channels + slot. So the channels that a recurrent layer
// advances together lie side by side, and to every other layer all rows of a call are one matrix. Samples and steps
// lie as the caller has them, slot by slot.

// What happens to a slot in one hop.
struct HopStep {
    // What the window is multiplied by before the network, and divided by after it.
    gain: f32,
    // RUN, RESET, both or none.
    flags: u32,
}

// The network runs. Without it the recurrent state stays, and the window adds nothing to the output.
const RUN: u32 = 1u;
// The recurrent state is set to zeros first.
const RESET: u32 = 2u;

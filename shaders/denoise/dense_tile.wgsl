// What dense kernels share: a workgroup makes a tile of 4 * ROW_LANES rows by 4 * OUTPUT_LANES outputs. Shared source:
// no entry point, and none of the bindings. Included by dense.wgsl and dense_int8.wgsl, after rows.wgsl and
// functions.wgsl. Owner: src/stage/denoise. Whoever includes it declares
//   alias Quad                                            what a tile is loaded by: inputs of a row, side by side
//   alias Sum, alias Sums                                 what products are added up in, and a vector of four of them
//   fn source_quad(row: u32, quad: u32) -> Quad           of a row; zeros where there is none
//   fn weight_quad(output: u32, quad: u32) -> Quad        of an output's row of W; zeros where there is none
//   fn add_products(sums: Sums, x: Quad, w: array<Quad, 4>) -> Sums    the products of a row with four outputs
//   fn finish(row: u32, output: u32, sum: Sum) -> f32     W x + b
//   params                                                with rows, channels, outputs, result_stride, activation
//   channels, scales, results                             as in dense.wgsl
//
// Four quads go through workgroup memory at a time; each invocation makes 4 rows of 4 outputs in registers, so a step
// of one quad reads 8 of them for 16 products of quads. In both tiles rows are 5 quads apart, not 4: invocations side
// by side read rows side by side, from other banks.
//
// The products of one output are added in the order of the inputs, whatever the tile: so a row comes out the same to
// the bit wherever it stands.

const LINEAR: u32 = 0u;
const RELU: u32 = 1u;
const SIGMOID: u32 = 2u;
const TANH: u32 = 3u;

override ROW_LANES: u32 = 16u;
override OUTPUT_LANES: u32 = 16u;
// ROW_LANES * OUTPUT_LANES.
override WORKGROUP_SIZE: u32 = 256u;
// 20 * ROW_LANES and 20 * OUTPUT_LANES.
override ROW_QUADS: u32 = 320u;
override OUTPUT_QUADS: u32 = 320u;
override SCALED: bool = false;

var<workgroup> shared_rows: array<Quad, ROW_QUADS>;
var<workgroup> shared_weights: array<Quad, OUTPUT_QUADS>;

fn add_tile_quad(sums: array<Sums, 4>, row_lane: u32, output_lane: u32, quad: u32) -> array<Sums, 4> {
    let w = array(
        shared_weights[output_lane * 5u + quad],
        shared_weights[(output_lane + OUTPUT_LANES) * 5u + quad],
        shared_weights[(output_lane + 2u * OUTPUT_LANES) * 5u + quad],
        shared_weights[(output_lane + 3u * OUTPUT_LANES) * 5u + quad],
    );
    return array(
        add_products(sums[0], shared_rows[row_lane * 5u + quad], w),
        add_products(sums[1], shared_rows[(row_lane + ROW_LANES) * 5u + quad], w),
        add_products(sums[2], shared_rows[(row_lane + 2u * ROW_LANES) * 5u + quad], w),
        add_products(sums[3], shared_rows[(row_lane + 3u * ROW_LANES) * 5u + quad], w),
    );
}

fn activate(x: f32) -> f32 {
    switch params.activation {
        case RELU: {
            return max(x, 0.0f);
        }
        case SIGMOID: {
            return sigmoid(x);
        }
        case TANH: {
            return hyperbolic_tangent(x);
        }
        default: {
            return x;
        }
    }
}

fn store_output(row: u32, output: u32, sum: Sum) {
    if output < params.outputs {
        var result = activate(finish(row, output, sum));
        if SCALED {
            result *= scales[channels[row % params.channels] * params.outputs + output];
        }
        results[row * params.result_stride + output] = result;
    }
}

fn store_row(row: u32, output: u32, sums: Sums) {
    if row < params.rows {
        store_output(row, output, sums.x);
        store_output(row, output + OUTPUT_LANES, sums.y);
        store_output(row, output + 2u * OUTPUT_LANES, sums.z);
        store_output(row, output + 3u * OUTPUT_LANES, sums.w);
    }
}

// Makes a tile from rows of `quads` quads. Tiles of the same rows follow each other, so that those rows are still in
// the cache.
fn make_tile(lane: u32, tile: u32, quads: u32) {
    let across = (params.outputs + 4u * OUTPUT_LANES - 1u) / (4u * OUTPUT_LANES);
    let first_row = tile / across * (4u * ROW_LANES);
    let first_output = tile % across * (4u * OUTPUT_LANES);
    if first_row >= params.rows {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    let row_lane = lane / OUTPUT_LANES;
    let output_lane = lane % OUTPUT_LANES;
    var sums: array<Sums, 4>;
    for (var first = 0u; first < quads; first += 4u) {
        for (var i = lane; i < 16u * ROW_LANES; i += WORKGROUP_SIZE) {
            shared_rows[i / 4u * 5u + i % 4u] = source_quad(first_row + i / 4u, first + i % 4u);
        }
        for (var i = lane; i < 16u * OUTPUT_LANES; i += WORKGROUP_SIZE) {
            shared_weights[i / 4u * 5u + i % 4u] = weight_quad(first_output + i / 4u, first + i % 4u);
        }
        workgroupBarrier(); // The products read what all invocations loaded.
        sums = add_tile_quad(sums, row_lane, output_lane, 0u);
        sums = add_tile_quad(sums, row_lane, output_lane, 1u);
        sums = add_tile_quad(sums, row_lane, output_lane, 2u);
        sums = add_tile_quad(sums, row_lane, output_lane, 3u);
        workgroupBarrier(); // All have read before the next inputs are loaded.
    }
    let output = first_output + output_lane;
    store_row(first_row + row_lane, output, sums[0]);
    store_row(first_row + row_lane + ROW_LANES, output, sums[1]);
    store_row(first_row + row_lane + 2u * ROW_LANES, output, sums[2]);
    store_row(first_row + row_lane + 3u * ROW_LANES, output, sums[3]);
}

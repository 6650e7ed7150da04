//! DTLN in ONNX files that are made up here, so that this is tested where the published ones are missing.
//!
//! Stage 1 has its LSTMs as single nodes; so has stage 2, which Keras' exporter would spell out in steps. The published
//! files, which tests/import.rs reads where they are, have both.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dtln::from_onnx;
use super::onnx::{Node, encoded};
use crate::stage::denoise::model::{Model, ModelError};

const FIRST: &str = "\
    LSTM x W1 R1 B1 -> y1\n\
    Squeeze y1 -> s1\n\
    LSTM s1 W2 R2 B2 -> y2\n\
    Squeeze y2 -> s2\n\
    MatMul s2 D -> m\n\
    Add m d -> a\n\
    Sigmoid a -> mask";

const SECOND: &str = "\
    Conv x E -> e\n\
    ReduceMean e -> mean\n\
    Sub e mean -> centred\n\
    Mul centred centred -> squares\n\
    ReduceMean squares -> variance\n\
    Add variance epsilon -> raised\n\
    Sqrt raised -> deviation\n\
    Div centred deviation -> normal\n\
    Mul gain normal -> scaled\n\
    Add scaled shift -> shifted\n\
    LSTM shifted W1 R1 B1 -> y1\n\
    LSTM y1 W2 R2 B2 -> y2\n\
    MatMul y2 D -> m\n\
    Add d m -> a\n\
    Sigmoid a -> mask\n\
    Mul e mask -> masked\n\
    Conv masked F -> out";

/// Values that differ from place to place and from tensor to tensor.
fn values(len: usize, which: usize) -> Vec<f32> {
    (0..len).map(|place| ((place * 7919 + which * 104_729) % 20_011) as f32 / 20_011.0).collect()
}

type Weights = Vec<(&'static str, Vec<usize>, Vec<f32>)>;

fn weights(shapes: &[(&'static str, &[usize])]) -> Weights {
    let stored = |(which, (name, shape)): (usize, &(&'static str, &[usize]))| {
        (*name, shape.to_vec(), values(shape.iter().product(), which))
    };
    shapes.iter().enumerate().map(stored).collect()
}

fn lstm_shapes(inputs: &'static [usize; 3]) -> [(&'static str, &'static [usize]); 6] {
    const RECURRENT: &[usize] = &[1, 512, 128];
    const BIAS: &[usize] = &[1, 1024];
    [("W1", inputs), ("R1", RECURRENT), ("B1", BIAS), ("W2", RECURRENT), ("R2", RECURRENT), ("B2", BIAS)]
}

fn first_weights() -> Weights {
    weights(&[&lstm_shapes(&[1, 512, 257])[..], &[("D", &[128, 257]), ("d", &[257])]].concat())
}

fn second_weights() -> Weights {
    let basis: [(&str, &[usize]); 4] =
        [("E", &[256, 512, 1]), ("F", &[512, 256, 1]), ("gain", &[256]), ("shift", &[256])];
    let mut weights =
        weights(&[&lstm_shapes(&[1, 512, 256])[..], &[("D", &[128, 256]), ("d", &[256])], &basis].concat());
    weights.push(("epsilon", vec![], vec![1e-7]));
    weights
}

fn nodes(text: &str) -> Vec<Node> {
    text.lines().map(|line| Node::from_text(line.trim())).collect()
}

struct Pair {
    first: (Vec<Node>, Weights),
    second: (Vec<Node>, Weights),
}

impl Pair {
    fn new() -> Self {
        Self { first: (nodes(FIRST), first_weights()), second: (nodes(SECOND), second_weights()) }
    }

    fn import(self) -> Result<Model, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let first = put("1.onnx", &encoded(("x", "mask"), self.first.0, &self.first.1));
        let second = put("2.onnx", &encoded(("x", "out"), self.second.0, &self.second.1));
        from_onnx(&first, &second)
    }
}

#[test]
fn every_tensor_finds_its_place() {
    let model = Pair::new().import().unwrap();
    let ours = |name: &str| model.tensor(name).unwrap().values.to_vec();
    let (input, bias, dense) = (values(512 * 257, 0), values(1024, 2), values(128 * 257, 6));
    for (gate, theirs) in [(0, 0), (1, 2), (2, 3), (3, 1)] {
        let (row, their_row) = (gate * 128 + 5, theirs * 128 + 5);
        assert_eq!(ours("stage1.lstm1.input_weights")[row * 257 + 9], input[their_row * 257 + 9], "gate {gate}");
        assert_eq!(ours("stage1.lstm1.bias")[row], bias[their_row] + bias[512 + their_row], "gate {gate}");
    }
    assert_eq!(ours("stage1.mask.weights")[7 * 128 + 3], dense[3 * 257 + 7], "transposed");
    assert_eq!(ours("stage2.encoder"), values(256 * 512, 8));
    assert_eq!(ours("stage2.decoder"), values(512 * 256, 9));
    assert_eq!(ours("stage2.norm.gain"), values(256, 10));
    assert_eq!(ours("stage2.norm.bias"), values(256, 11));
    assert_eq!(ours("stage2.mask.bias"), values(256, 7));
    assert!(model.description().licence.starts_with("unknown"), "nobody knows who made these");
}

/// A file that is made to keep whoever reads it busy.
#[test]
fn a_long_chain_of_nodes_takes_no_long_time() {
    const LEN: usize = 100_000;
    let mut pair = Pair::new();
    pair.first.0 = replaced(FIRST, "LSTM x", &format!("LSTM v{LEN}"));
    pair.first.0.push(Node::from_text("Identity x -> v0"));
    pair.first.0.extend((0..LEN).map(|n| Node::from_text(&format!("Identity v{n} -> v{}", n + 1))));
    let start = Instant::now();
    pair.import().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?} for {LEN} nodes", start.elapsed());
}

fn assert_refused(pair: Pair, parts: &[&str]) {
    let message = pair.import().unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` should stand in: {message}");
    }
}

fn replaced(text: &str, old: &str, new: &str) -> Vec<Node> {
    assert!(text.contains(old), "`{old}` should be in the graph");
    nodes(&text.replace(old, new))
}

#[test]
fn another_network_says_where_it_differs() {
    let first = |old: &str, new: &str| Pair { first: (replaced(FIRST, old, new), first_weights()), ..Pair::new() };
    let second = |old: &str, new: &str| Pair { second: (replaced(SECOND, old, new), second_weights()), ..Pair::new() };
    assert_refused(first("Sigmoid a", "Softmax a"), &["1.onnx", "`Sigmoid` to make the mask", "got `Softmax`"]);
    assert_refused(first("LSTM s1", "GRU s1"), &["`LSTM` to make stage1.lstm2", "got `GRU`"]);
    assert_refused(first("LSTM x", "LSTM z"), &["take the first input of the file"]);
    assert_refused(first("LSTM x W1 R1 B1", "LSTM x W1 R1"), &["stage1.lstm1", "weights and a bias"]);
    assert_refused(first("W1", "R2"), &["stage1.lstm1", "expected shape [1, 512, 257], got [1, 512, 128]"]);
    assert_refused(first("B1", "lost"), &["stage1.lstm1 (`lost`)", "stored in the file"]);
    // Values that make each other, round and round.
    assert_refused(first("Squeeze y2 -> s2", "Squeeze s2 -> s2"), &["stage1.lstm2"]);
    assert_refused(second("Mul e mask", "Mul x mask"), &["2.onnx", "what the layer normalisation takes"]);
    assert_refused(second("Conv masked F", "Conv masked E"), &["the decoder", "[512, 256, 1], got [256, 512, 1]"]);
    assert_refused(second("Add d m", "Add e m"), &["stage2.mask", "one stored tensor"]);
    let mut pair = Pair::new();
    pair.first.0[2] = pair.first.0[2].clone().with_attribute("direction", "reverse");
    assert_refused(pair, &["stage1.lstm2", "forward LSTM"]);
    let mut pair = Pair::new();
    pair.second.1.last_mut().unwrap().2 = vec![1e-3];
    assert_refused(pair, &["stage2.norm", "the epsilon 1e-7, got 1e-3"]);
    let mut pair = Pair::new();
    pair.first.1[0].2.pop();
    assert_refused(pair, &["stage1.lstm1 (`W1`)", "expected 131584 values, got 131583"]);
}

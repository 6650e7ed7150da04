//! Graphs that are refused: each error names the node and the mend. And what a graph may look like.

use auricle::{CustomKernel, Domain, Error, FilterMode, FrameShape, Gate, Graph, Measure, PhiResolvent, PlanOptions};

use crate::adapter::engines;
use crate::custom::wgsl;
use crate::signals::noise;

const SHAPE: FrameShape = FrameShape::real(64);

fn block() -> PhiResolvent {
    PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() }
}

fn copy() -> CustomKernel {
    let text = wgsl("", 1, "value = source_0[frame * params.frame_len + i];");
    CustomKernel::new(&text, |sources, result| result.copy_from_slice(sources[0]))
}

/// Fails unless every device refuses the graph, naming `node` and saying all of `parts`.
fn refused(graph: &Graph, node: &str, parts: &[&str]) {
    for engine in engines() {
        let error = engine.compile(graph).expect_err("the graph should be refused");
        let message = error.to_string();
        assert!(matches!(&error, Error::Graph { node: named, .. } if named == node), "names `{node}`: {message}");
        let missing = parts.iter().find(|part| !message.contains(**part));
        assert_eq!(missing, None, "{message}");
    }
}

fn start() -> Graph {
    Graph::new().input("in", SHAPE)
}

#[test]
fn names_must_be_usable_and_used_once() {
    refused(&start().gate("in", "in", Gate::default()).output("out", "in"), "in", &["two nodes"]);
    refused(&start().filter("out", "in", block()).output("out", "in"), "out", &["two nodes"]);
    refused(&Graph::new().input("", SHAPE).output("out", ""), "", &["empty"]);
    refused(&Graph::new().input("a.b", SHAPE).output("out", "a.b"), "a.b", &["dot"]);
}

#[test]
fn sources_must_be_there() {
    refused(&start().output("out", "filter"), "out", &["`filter`", "does not exist", "`in`"]);
    let nothing = start().output("also", "in").kernel("mine", &[], copy()).output("out", "mine");
    refused(&nothing, "mine", &["reads nothing"]);
    let after_output = start().output("first", "in").output("second", "first");
    refused(&after_output, "second", &["`first`", "is an output"]);
}

#[test]
fn circles_are_shown() {
    let circle = start()
        .kernel("a", &["c"], copy())
        .kernel("b", &["a"], copy())
        .kernel("c", &["b"], copy())
        .output("out", "c")
        .output("also", "in");
    for engine in engines() {
        let message = engine.compile(&circle).expect_err("it goes round").to_string();
        assert!(message.contains("circle") && message.contains("a -> b"), "{message}");
        assert!(["`a`", "`b`", "`c`"].iter().any(|node| message.contains(node)), "names one of them: {message}");
    }
    refused(&start().kernel("a", &["a"], copy()).output("out", "a").output("also", "in"), "a", &["circle", "a -> a"]);
}

#[test]
fn every_node_must_matter() {
    refused(&start(), "in", &["no output"]);
    refused(&Graph::new(), "(none)", &["no output"]);
    refused(&start().filter("idle", "in", block()).output("out", "in"), "idle", &["no output depends on it"]);
    refused(&start().input("spare", SHAPE).output("out", "in"), "spare", &["no output depends on it"]);
}

#[test]
fn a_gate_stands_once_and_on_an_input() {
    let two = start()
        .input("other", SHAPE)
        .gate("first", "in", Gate::default())
        .gate("second", "other", Gate::default())
        .output("out", "first")
        .output("also", "second");
    refused(&two, "second", &["already has the gate `first`"]);
    let late = start().filter("filter", "in", block()).gate("gate", "filter", Gate::default()).output("out", "gate");
    refused(&late, "gate", &["must read an input", "`filter`"]);
    let beside = start()
        .input("other", SHAPE)
        .gate("gate", "in", Gate::default())
        .output("out", "gate")
        .output("beside", "other");
    refused(&beside, "beside", &["does not depend on the gate `gate`"]);
    let around = start().gate("gate", "in", Gate::default()).output("out", "gate").output("around", "in");
    refused(&around, "around", &["does not depend on the gate"]);
}

#[test]
fn seamless_filters_read_frames_that_have_neighbours() {
    let seamless = PhiResolvent::default();
    let late = start().kernel("mine", &["in"], copy()).filter("filter", "mine", seamless).output("out", "filter");
    refused(&late, "filter", &["neighbouring frames", "`mine`", "block mode"]);
    let twice = start().filter("first", "in", block()).filter("second", "first", seamless).output("out", "second");
    refused(&twice, "second", &["`first`", "block mode"]);
    let shape = FrameShape::block(Domain::Real, 8, 8);
    let block_shape = Graph::new().input("in", shape).filter("filter", "in", seamless).output("out", "filter");
    refused(&block_shape, "filter", &["`Block`"]);
}

#[test]
fn powers_need_a_filter_that_measures() {
    let idle = start().filter("filter", "in", block()).output("out", "filter").output("powers", "filter.powers");
    refused(&idle, "powers", &["`filter` has no powers", "measure"]);
    let no_filter = start().output("out", "in").output("powers", "in.powers");
    refused(&no_filter, "powers", &["`in` has no powers"]);
    refused(&start().output("out", "in").output("powers", "none.powers"), "powers", &["does not exist"]);
}

#[test]
fn shapes_are_checked_where_they_matter() {
    for (shape, said) in [
        (FrameShape::real(32), "32"),
        (FrameShape::real(8192), "8192"),
        (FrameShape::real(100), "100"),
        (FrameShape::complex(96), "96 complex"),
        (FrameShape::block(Domain::Real, 3, 64), "3 x 64"),
        (FrameShape::block(Domain::Real, 64, 1), "64 x 1"),
        (FrameShape::block(Domain::Complex, 128, 64), "128 x 64 complex"),
    ] {
        let graph = Graph::new().input("in", shape);
        refused(&graph.clone().gate("gate", "in", Gate::default()).output("out", "gate"), "gate", &[said, "64"]);
        refused(&graph.filter("filter", "in", block()).output("out", "filter"), "filter", &[said, "64"]);
    }
    refused(&Graph::new().input("in", FrameShape::real(0)).output("out", "in"), "in", &["empty"]);
    let empty = copy().result_shape(FrameShape::real(0));
    refused(&start().kernel("mine", &["in"], empty).output("out", "mine"), "mine", &["empty"]);
}

#[test]
fn a_plan_needs_a_bucket() {
    for engine in engines().iter().skip(1) {
        let options = PlanOptions { buckets: Vec::new(), ..PlanOptions::default() };
        let error = engine.compile_with(&start().output("out", "in"), &options).expect_err("no bucket").to_string();
        assert!(error.contains("buckets") && error.contains("at least one"), "{error}");
    }
}

#[test]
fn nodes_may_come_in_any_order_and_be_read_twice() {
    let measured = PhiResolvent { measure: Measure::Coherence, ..block() };
    let backwards = Graph::new()
        .output("powers", "filter.powers")
        .output("also", "filter")
        .output("out", "filter")
        .filter("filter", "gate", measured)
        .output("gated", "gate")
        .gate("gate", "in", Gate::default())
        .input("in", SHAPE);
    let samples = noise(64 * 9, 61);
    for engine in engines() {
        let plan = engine.compile(&backwards).expect("the order does not matter");
        let output = plan.run(&[&samples], 1).expect("the run should succeed");
        assert_eq!(output.dense("gated"), Some(samples.as_slice()), "loud frames pass the gate");
        assert_eq!(output.dense("also"), output.dense("out"), "one filter, two outputs");
        assert_eq!(output.dense("powers").map(<[f32]>::len), Some(18), "a pair for each frame");
        assert_eq!(output.dense("filter"), None, "a node is no output");
    }
}

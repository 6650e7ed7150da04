//! What a user's WGSL may weigh. Compilers walk through nested text by calling themselves, and write called functions out
//! where they are called: text that is made for it overflows their stack, which ends the process, or keeps them busy for
//! ever. So users' kernels are parsed on a thread with a large stack, and go on only if what they became is moderate.

use naga::{AddressSpace, Arena, Block, Expression, Function, Handle, Module, Statement};

use super::loops::blocks_of;

/// Bytes of text: more nesting than two bytes each allow cannot be in it.
const MOST_TEXT_BYTES: usize = 64 << 10;
/// For those, and whatever one of them costs a parser that is not optimised.
const STACK_BYTES: usize = 512 << 20;
/// Blocks within blocks.
const MOST_NESTED: usize = 64;
/// Expressions within expressions.
const MOST_DEPTH: usize = 500;
/// Statements and expressions, with called functions written out.
const MOST_STEPS: u64 = 1_000_000;
/// Variables of one invocation, of all functions.
const MOST_PRIVATE_BYTES: u64 = 64 << 10;

/// Works on a text where no text of this length can overflow the stack.
pub(super) fn with_room<T: Send>(wgsl: &str, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    if wgsl.len() > MOST_TEXT_BYTES {
        return Err(format!("its text has {} bytes; {MOST_TEXT_BYTES} are the most", wgsl.len()));
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("auricle.wgsl".to_owned()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work).map_err(|error| format!("no thread to parse it on: {error}"))?;
        thread.join().unwrap_or_else(|_panic| Err("checking it panicked".to_owned()))
    })
}

/// Refuses what other compilers could not walk through.
pub(super) fn check(module: &Module) -> Result<(), String> {
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    let functions = || module.functions.iter().map(|(_, function)| function).chain(entries.clone());
    let nested = functions().map(|function| nesting(&function.body)).max().unwrap_or(0);
    let of_functions = functions().map(|function| depth(&function.expressions)).max().unwrap_or(0);
    let mut written_out: Vec<u64> = Vec::new();
    // Each function stands before those that call it.
    for (_, function) in module.functions.iter() {
        written_out.push(steps(function, &written_out));
    }
    let steps = entries.clone().map(|entry| steps(entry, &written_out)).max().unwrap_or(0);
    let weights = [
        ("blocks within blocks", nested as u64, MOST_NESTED as u64),
        (
            "expressions within expressions",
            depth(&module.global_expressions).max(of_functions) as u64,
            MOST_DEPTH as u64,
        ),
        ("steps, with called functions written out,", steps, MOST_STEPS),
        ("bytes of variables in each invocation", private_bytes(module), MOST_PRIVATE_BYTES),
    ];
    match weights.into_iter().find(|(_, actual, most)| actual > most) {
        None => Ok(()),
        Some((what, actual, most)) => Err(format!("it has {actual} {what}; {most} are the most")),
    }
}

fn nesting(block: &Block) -> usize {
    let within = block.iter().flat_map(blocks_of).map(nesting).max();
    within.map_or(1, |deepest| 1 + deepest)
}

/// Operands stand before what is made of them.
fn depth(expressions: &Arena<Expression>) -> usize {
    let mut depths: Vec<usize> = Vec::with_capacity(expressions.len());
    for (_, expression) in expressions.iter() {
        let mut deepest = 0;
        for_each_operand(expression, &mut |operand| {
            deepest = deepest.max(depths.get(operand.index()).copied().unwrap_or(0));
        });
        depths.push(1 + deepest);
    }
    depths.into_iter().max().unwrap_or(0)
}

/// Those that a compute kernel without textures can have.
fn for_each_operand(expression: &Expression, see: &mut dyn FnMut(Handle<Expression>)) {
    match *expression {
        Expression::Compose { ref components, .. } => components.iter().for_each(|component| see(*component)),
        Expression::Access { base, index } => [base, index].into_iter().for_each(see),
        Expression::Binary { left, right, .. } => [left, right].into_iter().for_each(see),
        Expression::Select { condition, accept, reject } => [condition, accept, reject].into_iter().for_each(see),
        Expression::Math { arg, arg1, arg2, arg3, .. } => {
            std::iter::once(arg).chain(arg1).chain(arg2).chain(arg3).for_each(see);
        }
        Expression::AccessIndex { base: one, .. }
        | Expression::Splat { value: one, .. }
        | Expression::Swizzle { vector: one, .. }
        | Expression::Load { pointer: one }
        | Expression::Unary { expr: one, .. }
        | Expression::Relational { argument: one, .. }
        | Expression::As { expr: one, .. }
        | Expression::Derivative { expr: one, .. }
        | Expression::ArrayLength(one) => see(one),
        _ => {}
    }
}

/// Of a function, given those of the functions before it.
fn steps(function: &Function, before: &[u64]) -> u64 {
    fn of_block(block: &Block, before: &[u64]) -> u64 {
        let of_statement = |statement: &Statement| {
            let called = match statement {
                Statement::Call { function, .. } => before.get(function.index()).copied().unwrap_or(0),
                _ => 0,
            };
            let within = blocks_of(statement).map(|block| of_block(block, before));
            within.fold(1_u64.saturating_add(called), u64::saturating_add)
        };
        block.iter().map(of_statement).fold(0, u64::saturating_add)
    }
    of_block(&function.body, before).saturating_add(function.expressions.len() as u64)
}

fn private_bytes(module: &Module) -> u64 {
    let size = |ty: Handle<naga::Type>| u64::from(module.types[ty].inner.size(module.to_ctx()));
    let globals = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::Private);
    let functions = module.functions.iter().map(|(_, function)| function);
    let functions = functions.chain(module.entry_points.iter().map(|entry| &entry.function));
    let locals = functions.flat_map(|function| function.local_variables.iter().map(|(_, variable)| variable.ty));
    globals.map(|(_, variable)| variable.ty).chain(locals).map(size).fold(0, u64::saturating_add)
}

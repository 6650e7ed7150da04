//! A budget for the loops of custom kernels: a loop that would not end holds a GPU until its driver resets it, takes a
//! software driver's threads for ever, and on some of those is ended silently. So all loops of an invocation share a count,
//! every loop ends when it is used up, and the host learns of that.
//!
//! Loops with barriers have a count of their own, which only they change: so it is the same in all invocations of a workgroup,
//! as compilers that check barriers want it. Where a module has both kinds, they share what there is.

use naga::{
    AddressSpace, BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, Literal, Module,
    ResourceBinding, Scalar, Span, Statement, StorageAccess, Type, TypeInner,
};

/// Turns of all loops in one invocation, the last look at a loop's condition included. Mesa's software driver ended loops
/// after some 65,535, without a word.
pub(crate) const MOST_TURNS: u32 = 60_000;
/// Of those, the ones of loops with barriers where there are others too, which have the rest.
pub(crate) const MOST_BARRIER_TURNS: u32 = 20_000;

/// Whether any function has a loop.
pub(crate) fn has_loops(module: &Module) -> bool {
    let is_loop = |statement: &Statement| matches!(statement, Statement::Loop { .. });
    bodies(module).any(|body| has(body, &is_loop))
}

fn bodies(module: &Module) -> impl Iterator<Item = &Block> {
    let functions = module.functions.iter().map(|(_, function)| function);
    functions.chain(module.entry_points.iter().map(|entry| &entry.function)).map(|function| &function.body)
}

/// Whether a block, or one within it, has such a statement.
fn has(block: &Block, is_it: &dyn Fn(&Statement) -> bool) -> bool {
    block.iter().any(|statement| is_it(statement) || blocks_of(statement).any(|block| has(block, is_it)))
}

pub(super) fn blocks_of(statement: &Statement) -> impl Iterator<Item = &Block> {
    let (one, other, cases): (_, _, &[naga::SwitchCase]) = match statement {
        Statement::Block(block) => (Some(block), None, &[]),
        Statement::If { accept, reject, .. } => (Some(accept), Some(reject), &[]),
        Statement::Loop { body, continuing, .. } => (Some(body), Some(continuing), &[]),
        Statement::Switch { cases, .. } => (None, None, cases),
        _ => (None, None, &[]),
    };
    one.into_iter().chain(other).chain(cases.iter().map(|case| &case.body))
}

fn blocks_of_mut(statement: &mut Statement) -> impl Iterator<Item = &mut Block> {
    let (one, other, cases): (_, _, &mut [naga::SwitchCase]) = match statement {
        Statement::Block(block) => (Some(block), None, &mut []),
        Statement::If { accept, reject, .. } => (Some(accept), Some(reject), &mut []),
        Statement::Loop { body, continuing, .. } => (Some(body), Some(continuing), &mut []),
        Statement::Switch { cases, .. } => (None, None, cases),
        _ => (None, None, &mut []),
    };
    one.into_iter().chain(other).chain(cases.iter_mut().map(|case| &mut case.body))
}

/// Functions that have barriers, or call those that do.
struct Barriers(Vec<Handle<Function>>);

impl Barriers {
    fn of(module: &Module) -> Self {
        let mut barriers = Self(Vec::new());
        // Each function stands before those that call it.
        for (handle, function) in module.functions.iter() {
            if barriers.are_in(&function.body) {
                barriers.0.push(handle);
            }
        }
        barriers
    }

    fn are_in(&self, block: &Block) -> bool {
        has(block, &|statement| match statement {
            Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => true,
            Statement::Call { function, .. } => self.0.contains(function),
            _ => false,
        })
    }

    /// Whether a loop has one; none where the statement is no loop.
    fn of_loop(&self, statement: &Statement) -> Option<bool> {
        match statement {
            Statement::Loop { body, continuing, .. } => Some(self.are_in(body) || self.are_in(continuing)),
            _ => None,
        }
    }
}

/// How often some loops may turn, and where their turns are counted.
#[derive(Clone, Copy)]
struct Budget {
    turns: Handle<GlobalVariable>,
    most: u32,
}

/// What the counting needs of a module.
struct Counting {
    /// Set when a budget is used up.
    used_up: Handle<GlobalVariable>,
    with_barriers: Budget,
    /// Of all other loops.
    others: Budget,
    barriers: Barriers,
}

/// Gives the loops of a module that have barriers one budget, and all others another. Where one is used up, the `u32` at
/// `@group(0) @binding(binding)`, a storage buffer, becomes 1; invocations that start after that have no turns left.
pub(crate) fn bound(module: &mut Module, binding: u32) {
    let barriers = Barriers::of(module);
    let has_some = |with_barriers: bool| {
        let is_one = |statement: &Statement| barriers.of_loop(statement) == Some(with_barriers);
        bodies(module).any(|body| has(body, &is_one))
    };
    // The driver counts both kinds together.
    let has_both = has_some(true) && has_some(false);
    let mut ty = |inner| module.types.insert(Type { name: None, inner }, Span::UNDEFINED);
    let (word, atomic) = (ty(TypeInner::Scalar(Scalar::U32)), ty(TypeInner::Atomic(Scalar::U32)));
    let mut variable = |name: &str, space, binding, ty| {
        let (name, memory_decorations) = (Some(name.to_owned()), naga::MemoryDecorations::empty());
        let variable = GlobalVariable { name, space, binding, ty, init: None, memory_decorations };
        module.global_variables.append(variable, Span::UNDEFINED)
    };
    let storage = AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE };
    let used_up = variable("loops_used_up", storage, Some(ResourceBinding { group: 0, binding }), atomic);
    let mut budget = |name: &str, most| {
        let turns = variable(name, AddressSpace::Private, None, word);
        Budget { turns, most: if has_both { most } else { MOST_TURNS } }
    };
    let others = budget("loop_turns", MOST_TURNS - MOST_BARRIER_TURNS);
    let with_barriers = budget("barrier_loop_turns", MOST_BARRIER_TURNS);
    let counting = Counting { used_up, with_barriers, others, barriers };
    for (_, function) in module.functions.iter_mut() {
        counting.bound_function(function);
    }
    for entry in &mut module.entry_points {
        counting.bound_function(&mut entry.function);
        let start = counting.start(&mut entry.function);
        entry.function.body.splice(0..0, start);
    }
}

impl Counting {
    fn bound_function(&self, function: &mut Function) {
        let mut body = std::mem::take(&mut function.body);
        self.bound_block(&mut body, function);
        function.body = body;
    }

    fn bound_block(&self, block: &mut Block, function: &mut Function) {
        for statement in block.iter_mut() {
            blocks_of_mut(statement).for_each(|block| self.bound_block(block, function));
            let has_barrier = self.barriers.of_loop(statement);
            if let (Statement::Loop { body, .. }, Some(has_barrier)) = (statement, has_barrier) {
                let count = self.count_turn(function, if has_barrier { self.with_barriers } else { self.others });
                body.splice(0..0, count);
            }
        }
    }

    /// `turns = loops_used_up * most`: nothing else is to be done where one has not ended.
    fn start(&self, function: &mut Function) -> Block {
        let mut make = |expression| function.expressions.append(expression, Span::UNDEFINED);
        let variables = [self.others.turns, self.used_up];
        let [turns, used_up] = variables.map(|variable| make(Expression::GlobalVariable(variable)));
        let most = make(Expression::Literal(Literal::U32(self.others.most)));
        let loaded = make(Expression::Load { pointer: used_up });
        let left = make(Expression::Binary { op: BinaryOperator::Multiply, left: loaded, right: most });
        Block::from_vec(vec![
            Statement::Emit(naga::Range::new_from_bounds(loaded, left)),
            Statement::Store { pointer: turns, value: left },
        ])
    }

    /// `turns += 1; if turns > most { loops_used_up = 1; break; }`
    fn count_turn(&self, function: &mut Function, budget: Budget) -> Block {
        let mut make = |expression| function.expressions.append(expression, Span::UNDEFINED);
        let variables = [budget.turns, self.used_up];
        let [turns, used_up] = variables.map(|variable| make(Expression::GlobalVariable(variable)));
        let [one, most] = [1, budget.most].map(|number| make(Expression::Literal(Literal::U32(number))));
        let before = make(Expression::Load { pointer: turns });
        let now = make(Expression::Binary { op: BinaryOperator::Add, left: before, right: one });
        let is_over = make(Expression::Binary { op: BinaryOperator::Greater, left: now, right: most });
        let end = vec![Statement::Store { pointer: used_up, value: one }, Statement::Break];
        Block::from_vec(vec![
            Statement::Emit(naga::Range::new_from_bounds(before, is_over)),
            Statement::Store { pointer: turns, value: now },
            Statement::If { condition: is_over, accept: Block::from_vec(end), reject: Block::new() },
        ])
    }
}

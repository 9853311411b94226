//! What a Rust file consists of, as far as the rules ask: paths within the crate, functions, threads. Its tests are left out.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ExprCall, ExprMethodCall, FnArg, ImplItem, Item, Lit, Meta, Pat, Signature, UseTree,
};

/// A file.
#[derive(Debug, Default)]
pub struct Syntax {
    /// Every path that begins with `crate`, `super` or `self`.
    pub paths: Vec<CratePath>,
    pub functions: Vec<Function>,
    pub threads: Vec<Thread>,
    /// Modules that are tests and have files of their own.
    pub test_modules: Vec<String>,
}

/// A path within the crate.
#[derive(Debug, PartialEq, Eq)]
pub struct CratePath {
    /// The module in the file where it stands; none at the file's top.
    pub module: Vec<String>,
    /// What it says. An import's group is one path for each name; a glob ends with `*`.
    pub segments: Vec<String>,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    /// The line with `fn`.
    pub line: usize,
    /// From there to the closing brace.
    pub lines: usize,
}

/// A thread that is started, or a runtime that has threads.
#[derive(Debug, PartialEq, Eq)]
pub struct Thread {
    pub line: usize,
    pub name: Name,
}

/// How a thread is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `{..}-lane-{..}` is `NAME-lane-N`.
    Known(String),
    /// It has a name that cannot be read in its file.
    Unclear,
    /// It has none.
    Missing,
}

impl Syntax {
    /// Parses a file.
    pub fn of(text: &str) -> syn::Result<Self> {
        let mut reader = Reader::default();
        reader.visit_file(&syn::parse_file(text)?);
        Ok(reader.done())
    }
}

/// Goes through a file once.
#[derive(Default)]
struct Reader {
    found: Syntax,
    /// The module that is being read.
    module: Vec<String>,
    /// The functions that are being read, the innermost last.
    within: Vec<Scope>,
    /// Builders of threads by their place: which have a name so far.
    builders: BTreeMap<(usize, usize), Option<Named>>,
    /// Calls of functions by name, with those arguments that are names.
    calls: Vec<(String, Vec<Option<String>>)>,
    /// Names given to `std::thread::scope`'s argument.
    scopes: Vec<String>,
}

/// What is known of names in a function.
#[derive(Default)]
struct Scope {
    function: String,
    parameters: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// What a thread is named with.
enum Named {
    Name(Name),
    /// The argument of a function, as its callers in the file have it.
    Argument {
        function: String,
        index: usize,
    },
}

impl Reader {
    fn done(mut self) -> Syntax {
        for ((line, _), named) in std::mem::take(&mut self.builders) {
            match named {
                None => self.thread(line, Name::Missing),
                Some(Named::Name(name)) => self.thread(line, name),
                Some(Named::Argument { function, index }) => {
                    let calls = self.calls.iter().filter(|(name, _)| *name == function);
                    let names: Vec<_> = calls.map(|(_, arguments)| arguments.get(index).cloned().flatten()).collect();
                    if names.is_empty() {
                        self.thread(line, Name::Unclear);
                    }
                    for name in names {
                        self.thread(line, name.map_or(Name::Unclear, Name::Known));
                    }
                }
            }
        }
        self.found
    }

    fn thread(&mut self, line: usize, name: Name) {
        self.found.threads.push(Thread { line, name });
    }

    fn path(&mut self, segments: Vec<String>) {
        if segments.len() > 1 && ["crate", "super", "self"].contains(&segments[0].as_str()) {
            self.found.paths.push(CratePath { module: self.module.clone(), segments });
        }
    }

    fn imports(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.imports(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.path(with(name.ident.to_string())),
            UseTree::Rename(rename) => self.path(with(rename.ident.to_string())),
            UseTree::Glob(_) => self.path(with("*".to_owned())),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.imports(before, item)),
        }
    }

    /// The paths in what a macro is called with.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => {
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Ident(name) => {
                    self.path(std::mem::replace(&mut path, vec![name.to_string()]));
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.path(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path(path);
    }

    fn function(&mut self, signature: &Signature, block: &Block, read: impl FnOnce(&mut Self)) {
        let line = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line - line + 1;
        let name = signature.ident.to_string();
        self.found.functions.push(Function { name: name.clone(), line, lines });
        let parameters = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Receiver(_) => None,
            FnArg::Typed(typed) => Some(variable(&typed.pat).unwrap_or_default()),
        });
        self.within.push(Scope { function: name, parameters: parameters.collect(), variables: BTreeMap::new() });
        read(self);
        self.within.pop();
    }

    /// What an argument says a thread's name is.
    fn named(&self, argument: &Expr) -> Named {
        if let Some(text) = text_of(argument) {
            return Named::Name(Name::Known(text));
        }
        let (Some(variable), Some(scope)) = (plain(argument), self.within.last()) else {
            return Named::Name(Name::Unclear);
        };
        if let Some(text) = scope.variables.get(&variable) {
            return Named::Name(Name::Known(text.clone()));
        }
        match scope.parameters.iter().position(|parameter| *parameter == variable) {
            Some(index) => Named::Argument { function: scope.function.clone(), index },
            None => Named::Name(Name::Unclear),
        }
    }

    fn variables(&mut self, pattern: &Pat, value: &Expr) {
        if let (Pat::Tuple(patterns), Expr::Tuple(values)) = (pattern, value) {
            patterns.elems.iter().zip(&values.elems).for_each(|(one, value)| self.variables(one, value));
        } else if let (Some(name), Some(text), Some(scope)) =
            (variable(pattern), text_of(value), self.within.last_mut())
        {
            scope.variables.insert(name, text);
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes: &[Attribute] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        } else if let Item::Mod(module) = item
            && module.content.is_none()
        {
            self.found.test_modules.push(module.ident.to_string());
        }
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.imports(&[], &item.tree);
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(&item.sig, &item.block, |reader| visit::visit_item_fn(reader, item));
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Const(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.sig, &item.block, |reader| visit::visit_impl_item_fn(reader, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        match &item.default {
            Some(block) => self.function(&item.sig, block, |reader| visit::visit_trait_item_fn(reader, item)),
            None => visit::visit_trait_item_fn(self, item),
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {
        // `pub(in crate::a)` takes nothing from there.
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }

    fn visit_local(&mut self, local: &'a syn::Local) {
        if let Some(init) = &local.init {
            self.variables(&local.pat, &init.expr);
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        let line = call.span().start().line;
        if is_builder(call) {
            self.builders.entry(place(call)).or_insert(None);
        } else if ends(call, &["thread", "spawn"]) {
            self.thread(line, Name::Missing);
        } else if let Some(name) = last(call) {
            self.calls.push((name, call.args.iter().map(text_of).collect()));
        }
        let scope = call.args.first().filter(|_| ends(call, &["thread", "scope"]));
        let scope = scope.and_then(|closure| match closure {
            Expr::Closure(closure) => variable(closure.inputs.first()?),
            _ => None,
        });
        let depth = self.scopes.len();
        self.scopes.extend(scope);
        visit::visit_expr_call(self, call);
        self.scopes.truncate(depth);
    }

    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        let method = call.method.to_string();
        match (method.as_str(), call.args.first()) {
            ("name", Some(argument)) => {
                if let Some(builder) = root(call).filter(|builder| is_builder(builder)) {
                    let named = self.named(argument);
                    self.builders.insert(place(builder), Some(named));
                }
            }
            ("thread_name", Some(argument)) => {
                let named = self.named(argument);
                let at = root(call).map_or_else(|| start(call.span()), place);
                self.builders.insert(at, Some(named));
            }
            ("spawn", _) if plain(&call.receiver).is_some_and(|name| self.scopes.contains(&name)) => {
                self.thread(call.method.span().start().line, Name::Missing);
            }
            _ => {}
        }
        visit::visit_expr_method_call(self, call);
    }
}

/// `#[test]`, or `#[cfg(test)]` in any form.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let text = list.tokens.to_string();
            let mut words = text.split(|c: char| !super::in_name(c));
            words.clone().any(|word| word == "test") && !words.any(|word| word == "not")
        }
        _ => false,
    })
}

/// `std::thread::Builder::new()`, or the builder of a runtime with threads.
fn is_builder(call: &ExprCall) -> bool {
    ends(call, &["thread", "Builder", "new"]) || ends(call, &["Builder", "new_multi_thread"])
}

fn segments(call: &ExprCall) -> Vec<String> {
    match &*call.func {
        Expr::Path(path) => path.path.segments.iter().map(|segment| segment.ident.to_string()).collect(),
        _ => Vec::new(),
    }
}

fn ends(call: &ExprCall, end: &[&str]) -> bool {
    let segments = segments(call);
    segments.len() >= end.len() && segments[segments.len() - end.len()..] == *end
}

fn last(call: &ExprCall) -> Option<String> {
    segments(call).pop()
}

fn start(span: proc_macro2::Span) -> (usize, usize) {
    (span.start().line, span.start().column)
}

fn place(call: &ExprCall) -> (usize, usize) {
    start(call.span())
}

/// The call that a chain of methods begins with.
fn root(call: &ExprMethodCall) -> Option<&ExprCall> {
    match &*call.receiver {
        Expr::MethodCall(inner) => root(inner),
        Expr::Call(inner) => Some(inner),
        _ => None,
    }
}

fn variable(pattern: &Pat) -> Option<String> {
    match pattern {
        Pat::Ident(name) => Some(name.ident.to_string()),
        Pat::Type(typed) => variable(&typed.pat),
        _ => None,
    }
}

/// An expression that is a name and nothing more.
fn plain(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        Expr::Reference(reference) => plain(&reference.expr),
        Expr::MethodCall(call) if call.args.is_empty() && call.method == "clone" => plain(&call.receiver),
        _ => None,
    }
}

/// The text that an expression is, with `NAME` and `N` for what a `format!` puts in.
fn text_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        Expr::Reference(reference) => text_of(&reference.expr),
        Expr::MethodCall(call) if call.args.is_empty() => text_of(&call.receiver),
        Expr::Call(call) if ends(call, &["String", "from"]) => text_of(call.args.first()?),
        Expr::Macro(call) if call.mac.path.is_ident("format") => {
            let TokenTree::Literal(literal) = call.mac.tokens.clone().into_iter().next()? else { return None };
            let Lit::Str(text) = Lit::new(literal) else { return None };
            Some(pattern(&text.value()))
        }
        _ => None,
    }
}

/// A `format!` text with a name first and numbers after it: `{}-lane-{}` is `NAME-lane-N`.
fn pattern(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out += before;
        out += if out.is_empty() { "NAME" } else { "N" };
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let syntax = Syntax::of(text).unwrap();
        let with_module = |path: &CratePath| [&path.module[..], &path.segments[..]].concat().join("::");
        syntax.paths.iter().map(with_module).collect()
    }

    fn names(text: &str) -> Vec<Name> {
        Syntax::of(text).unwrap().threads.into_iter().map(|thread| thread.name).collect()
    }

    fn known(name: &str) -> Name {
        Name::Known(name.to_owned())
    }

    #[test]
    fn imports_are_taken_apart() {
        let text = "use crate::{a::{B, self as c}, d}; use super::*; use std::fs; pub use self::e::F as G;";
        assert_eq!(paths(text), ["crate::a::B", "crate::a::self", "crate::d", "super::*", "self::e::F"]);
    }

    #[test]
    fn paths_in_code_types_macros_and_attributes_count() {
        let text = "fn a(b: &super::B) -> crate::C { self.d(); format!(\"crate::no\", crate::e::f(), self.g, x::y) }
            #[arg(parser = crate::h)] struct I; pub(in crate::j) struct K; // crate::comment";
        assert_eq!(paths(text), ["super::B", "crate::C", "crate::e::f", "crate::h"]);
    }

    #[test]
    fn a_module_in_a_file_is_noted_and_tests_are_left_out() {
        let text = "mod inner { use super::A; } #[cfg(test)] mod tests { use super::B; } #[cfg(test)] mod more;
            #[cfg(test)] use crate::C; #[test] fn t() { crate::d() } impl E { #[cfg(test)] fn f() { crate::g() } }
            #[cfg(not(test))] use crate::H;";
        assert_eq!(paths(text), ["inner::super::A", "crate::H"]);
        assert_eq!(Syntax::of(text).unwrap().test_modules, ["more"]);
    }

    #[test]
    fn a_thread_has_the_name_that_its_builder_was_given() {
        let text = "fn a() { std::thread::Builder::new().name(\"log\".to_owned()).spawn(|| ()); }";
        assert_eq!(names(text), [known("log")]);
        let text = "fn a() { let name = format!(\"{}-lane-{n}\", s.name);
            thread::Builder::new().stack_size(1).name(name).spawn(|| ()); }";
        assert_eq!(names(text), [known("NAME-lane-N")]);
        let text = "fn a() { let (x, name) = (1, format!(\"{x}-ready\")); thread::Builder::new().name(name); }";
        assert_eq!(names(text), [known("NAME-ready")]);
        let text = "fn a() { Builder::new_multi_thread().worker_threads(1).thread_name(\"control\").build() }";
        assert_eq!(names(text), [known("control")]);
    }

    #[test]
    fn a_name_that_is_an_argument_is_what_callers_pass() {
        let text = "fn spawn(name: String) { thread::Builder::new().name(name).spawn(|| ()); }
            fn a() { spawn(format!(\"{}-member-{}\", a, b)); spawn(format!(\"{}-commit-{}\", a, b)); }";
        assert_eq!(names(text), [known("NAME-member-N"), known("NAME-commit-N")]);
        assert_eq!(names("fn s(name: String) { thread::Builder::new().name(name); }"), [Name::Unclear]);
        assert_eq!(names("fn s() { thread::Builder::new().name(of(1)); }"), [Name::Unclear]);
    }

    #[test]
    fn a_thread_without_a_name_is_found() {
        assert_eq!(names("fn a() { std::thread::spawn(|| ()); }"), [Name::Missing]);
        assert_eq!(names("fn a() { thread::Builder::new().spawn(|| ()); }"), [Name::Missing]);
        assert_eq!(names("fn a() { Builder::new_multi_thread().build(); }"), [Name::Missing]);
        assert_eq!(names("fn a() { std::thread::scope(|s| { s.spawn(|| ()); command.spawn(); }); }"), [Name::Missing]);
        assert_eq!(names("#[test] fn a() { std::thread::spawn(|| ()); }"), []);
        assert_eq!(names("fn a() { tokio::spawn(b); Command::new(c).spawn(); Builder::new_current_thread(); }"), []);
    }
}

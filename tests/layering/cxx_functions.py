# SPDX-License-Identifier: Apache-2.0
"""Finds the functions and structs of a C++ file for check_limits.py. It is no parser of C++.

It relies on the layout that clang-format gives our files. It cannot read macros that open a brace
and braces that pair in only one branch of an #if: it raises an error where braces do not pair.
"""
import bisect
import collections
import re

# name has the classes that the function is written in; lines counts from the signature to the
# closing brace; parameters are texts; body is the text between the braces, None in a declaration.
Function = collections.namedtuple("Function", "name line lines parameters body")
Struct = collections.namedtuple("Struct", "name body")

BLANKED = re.compile(
    r'//(?:[^\n\\]|\\.|\\\n)*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.S | re.M)
# Words that stand before a parenthesis and are not the name of the function.
NOT_A_NAME = re.compile(r"(alignas|noexcept|decltype|explicit|requires|asm|volatile|sizeof|"
                        r"static_assert|__attribute__|__launch_bounds__|__align__|if|for|while)$")
NAME = re.compile(r"((?:[A-Za-z_]\w*(?:<[^()]*>)?::)*~?[A-Za-z_]\w*"
                  r"|(?:[A-Za-z_]\w*::)*operator\s*(?:\(\)|[^\s\w(]+|[\w:\s&*]+))\s*$")
PREFIX = re.compile(r"\s*(template\s*(?=<)|\[\[.*?\]\]|(?:public|private|protected):)", re.S)
CLASS = re.compile(r"(?:friend |typedef )?(?:class|struct|union)\s+"
                   r"(?:(?:alignas\(.*?\)|\[\[.*?\]\]|[A-Z_]{3,})\s+)*([\w:]+)?")
OPENS_SCOPE = re.compile(r"(inline )?namespace\b|extern\b|"
                         r"(friend |typedef )?(class|struct|union)\b")
CLOSING = {"(": ")", "{": "}", "[": "]", "<": ">"}


def blanked(text):
    """The text without comments, literals and directives, each place where it was."""
    return BLANKED.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def match_of(text, at):
    """The position of the bracket that closes the one at `at`, or the end of the text."""
    opening, closing = text[at], CLOSING[text[at]]
    depth = 0
    for found in re.compile(re.escape(opening) + "|" + re.escape(closing)).finditer(text, at):
        arrow = opening == "<" and text[found.start() - 1] == "-"
        depth += 0 if arrow else 1 if found[0] == opening else -1
        if depth == 0:
            return found.start()
    return len(text)


def split_list(text):
    """The parts of a list that commas separate, commas inside brackets left alone."""
    parts, depth, begin = [], 0, 0
    for found in re.finditer(r"->|[(\[{<>}\]),]", text):
        if found[0] == "," and depth == 0:
            parts.append(text[begin:found.start()])
            begin = found.end()
        elif found[0] in CLOSING:
            depth += 1
        elif found[0] in ")]}>":
            depth -= 1
    return [" ".join(part.split()) for part in parts + [text[begin:]] if part.strip()]


def without_prefixes(head):
    """Where a declaration begins after template<...>, attributes and access specifiers."""
    at = 0
    while found := PREFIX.match(head, at):
        at = found.end()
        if found[1].startswith("template"):
            at = match_of(head, at) + 1
    return at + len(head[at:]) - len(head[at:].lstrip())


def parameter_list(head):
    """(name, position of the opening parenthesis), or None if head is not one of a function."""
    if re.match(r"(using|typedef|friend class|static_assert|enum)\b", head):
        return None
    at = 0
    while (at := head.find("(", at)) >= 0:
        before = head[:at].rstrip()
        if re.search(r"[^=!<>]=(?!=)", re.sub(r"operator\s*\S+", "", before)):
            return None
        if before.endswith("operator"):  # operator()(...)
            at = match_of(head, at) + 1
            continue
        if NOT_A_NAME.search(before) is None:
            name = NAME.search(before)
            if name is None or re.match(r"\(\s*[*&]", head[at:]):
                return None
            return name[1], at
        at = match_of(head, at) + 1
    return None


def is_braced_member(head, opened):
    """Whether the brace after `head` initialises a member in a constructor's list."""
    end = match_of(head, opened)
    colon = re.search(r"(?<!:):(?!:)", head[end:])
    return colon is not None and re.search(r"[\w>]\s*$", head) is not None


class Reader:
    def __init__(self, text):
        self.text = blanked(text)
        self.ends = [found.start() for found in re.finditer("\n", self.text)]
        self.classes = []  # that are open: (name, position of the closing brace)
        self.structs = []
        self.functions = list(self.read())

    def line_of(self, position):
        return bisect.bisect_left(self.ends, position) + 1

    def closing(self, at):
        end = match_of(self.text, at)
        if end == len(self.text):
            raise ValueError(f"line {self.line_of(at)}: no closing {CLOSING[self.text[at]]}")
        return end

    def function(self, begin, head, closing):
        """The function that begins with `head` and ends with the brace `closing`, if it has one."""
        skipped = without_prefixes(head)
        found = parameter_list(head[skipped:])
        if found is None:
            return None
        name, opened = found
        scope = "".join(each + "::" for each, _ in self.classes)
        inside = head[skipped + opened + 1:match_of(head, skipped + opened)]
        body_begin = begin + len(head)
        end = body_begin if closing is None else closing
        body = None if closing is None else self.text[body_begin + 1:closing]
        line = self.line_of(begin + skipped)
        parameters = [] if inside.strip() == "void" else split_list(inside)
        return Function(scope + name, line, self.line_of(end) - line + 1, parameters, body)

    def enter_class(self, head, opened):
        name = CLASS.match(head)
        if name is not None:
            end = self.closing(opened)
            self.classes.append((name[1] or "", end))
            self.structs.append(Struct(name[1] or "", self.text[opened + 1:end]))

    def read(self):
        """Functions of namespaces and classes; what stands inside a function belongs to it."""
        begin = at = 0
        stop = re.compile(r"[;{}(]")
        while found := stop.search(self.text, at):
            at = found.end()
            head = self.text[begin:found.start()]
            while self.classes and self.classes[-1][1] < found.start():
                self.classes.pop()
            if found[0] == "(":
                at = self.closing(found.start()) + 1
                continue
            if found[0] == "{":
                plain = head[without_prefixes(head):]
                opened = parameter_list(plain)
                if opened is None and OPENS_SCOPE.match(plain):
                    self.enter_class(plain, found.start())
                elif opened is None or is_braced_member(plain, opened[1]):
                    at = self.closing(found.start()) + 1  # an initialiser or an enum
                    continue
                else:
                    at = self.closing(found.start()) + 1
                    yield self.function(begin, head, at - 1)
            elif found[0] == ";":
                declared = self.function(begin, head, None)
                if declared is not None:
                    yield declared
            begin = at

"""Production code keeps to the most that files, classes and functions may have, and what does not is caught."""
import pathlib

import check_sizes

BODY = "  int x = 0;\n"


def faults(source):
    return list(check_sizes.faults_of("a.cc", source))


def test_our_tree_keeps_to_the_sizes():
    assert check_sizes.violations(pathlib.Path(__file__).resolve().parents[2] / "src") == []


def test_a_long_function_needs_a_reason_above_it():
    long = "void f(int x) {\n" + BODY * 59 + "}\n"
    assert faults(long.replace(BODY, "", 1)) == []
    assert faults(long) == ['a.cc:1: f has 61 lines; above 60 a comment says "Long because ..."']
    assert faults("// Long because each case is one line.\n" + long) == []


def test_a_member_a_constructor_and_a_lambda_are_told_apart():
    member = "class A : public B {\n  A(int x) : x_{x}, y_(x) {\n" + BODY * 60 + "  }\n};\n"
    assert ["A has 62" in fault for fault in faults(member)] == [True]
    lambda_in_function = "void f() {\n  g([&] {\n" + BODY * 30 + "  });\n" + "}\n"
    assert faults(lambda_in_function) == []


def test_braces_in_text_do_not_count():
    text = 'void f() {\n  g("{", \'{\', R"(\n{{\n)");  // {\n}\n' + "void h() {\n" + BODY * 10 + "}\n"
    assert [(name, last - first) for _, name, first, last in check_sizes.pieces(text)] == [("f", 4), ("h", 11)]


def test_a_long_class_and_a_long_file_are_named():
    source = "namespace n {\nstruct A {\n" + BODY * 299 + "};\n}\n" + "// x\n" * 200
    assert faults(source) == ["a.cc: 503 lines; 500 are the most", "a.cc:2: A has 301 lines; 300 are the most for a class"]

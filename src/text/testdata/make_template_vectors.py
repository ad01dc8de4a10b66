#!/usr/bin/env python3
"""Makes templates.json: what Python's jinja2, set up as transformers sets it up, renders for many templates and conversations.

Usage: make_template_vectors.py [QWEN3_TOKENIZER_CONFIG]   (needs jinja2; prints how many vectors it wrote)
Each vector is a template, its variables, and the text, or null where rendering fails. strftime_now gives a fixed day.
"""
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named "
    "SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
STYLES = {
    "smollm2": SMOLLM2,
    "headers with tools and date": """{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}
{%- if messages[0].role == 'system' %}{%- set system = messages[0].content | trim %}{%- set rest = messages[1:] %}
{%- else %}{%- set system = "" %}{%- set rest = messages %}{%- endif %}
{{- "<|head|>system<|/head|>\\n\\nToday: " + date_string + "\\n" + system }}
{%- if tools is not none and tools is defined %}
{%- for t in tools %}
{{- t | tojson(indent=4) }}
{{- "\\n\\n" }}
{%- endfor %}
{%- endif %}
{%- for m in rest %}
{%- if m.tool_calls is defined and m.tool_calls %}
{{- '<|head|>assistant<|/head|>\\n' ~ m.tool_calls[0].function.name ~ ' ' ~ m.tool_calls[0].function.arguments | tojson }}
{%- elif m.role in ['user', 'assistant'] %}
{{- '<|head|>' + m['role'] + '<|/head|>\\n\\n' + (m['content'] if m.content is string else '') | trim + '<|eot|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|head|>assistant<|/head|>\\n\\n' }}{%- endif %}
""",
    "brackets that alternate": """{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}{{ '[ASK] ' + m['content'] + ' [/ASK]' }}{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}""",
    "renamed roles": """{% set names = {'assistant': 'model', 'user': 'user'} %}
{% for m in messages if m.role != 'system' %}
  <turn>{{ names.get(m.role, m.role) }}
{{ m.content | trim if m.content is string else m.content | map(attribute='text') | join(' ') }}</turn>
{% else %}
nothing
{% endfor %}
{%- if add_generation_prompt -%}
<turn>model
{% endif %}""",
    "macros": """{%- macro turn(role, content='', end='\\n') -%}
<{{ role }}>{{ content }}</{{ role }}>{{ end }}
{%- endmacro -%}
{%- for m in messages -%}
{{ turn(m.role, m.content, end='|') }}
{%- endfor %}
{{ turn('assistant') if add_generation_prompt }}""",
    "tool results": """{%- for m in messages %}
    {%- if m.role == 'tool' %}
        {%- if loop.previtem is not defined or loop.previtem.role != 'tool' %}{{ '<results>' }}{% endif %}
        {{- '\\n- ' + m.content }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{ '\\n</results>' }}{% endif %}
    {%- else %}
        {{- m.role | upper ~ ': ' ~ (m.content or '') }}
    {%- endif %}
{%- endfor %}""",
    "reasoning stripped": """{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for m in messages %}
{%- set c = m.content if m.content is string else '' %}
{%- if m.role == 'assistant' and '</think>' in c %}
{%- if loop.index0 < ns.last %}{%- set c = c.split('</think>')[-1].lstrip('\\n') %}{%- endif %}
{%- endif %}
{{- '<' ~ m.role ~ '>' ~ c }}
{%- if m.reasoning_content is defined and loop.index0 > ns.last %}{{- '<r>' + m.reasoning_content.strip() + '</r>' }}{%- endif %}
{%- endfor %}""",
    "parts": """{% for m in messages %}{{ m.role }}:{% if m.content is string %}{{ m.content }}{% elif m.content is iterable and m.content is not mapping %}{% for p in m.content %}{% if p.type == 'text' %}{{ p['text'] }}{% else %}[{{ p.type | default('?') }}]{% endif %}{{ ', ' if not loop.last }}{% endfor %}{% endif %}
{% endfor %}""",
    "documents and whitespace": """   {% if messages %}
  {#- a comment -#}
  Count: {{ messages | length }}

  {%+ if true %}kept{% endif %}
    {% for m in messages -%}
      {{ loop.index }}/{{ loop.length }} {{ m.role }}
    {%- endfor +%}
  {% endif %}

end
""",
    "loops": """{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{% if loop.index0 > 3 %}{% break %}{% endif %}{{ loop.cycle('a', 'b') }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{% endfor %}{% for k, v in messages[0].items() %}{{ k }}={{ v | string | length }};{% endfor %}{% for i in range(10, 0, -3) %}{{ i }},{% endfor %}""",
    "call and filter blocks": """{% macro box(title) %}[{{ title }}: {{ caller() }}]{% endmacro %}{% call box('x') %}{{ messages[-1].content }}{% endcall %}{% filter upper | replace('A', '_') %}{{ messages[0].role }}{% endfilter %}{% set block %}{% for m in messages %}{{ m.role[0] }}{% endfor %}{% endset %}{{ block | length }}{{ block[::-1] }}{% with a = 1, b = 'z' %}{{ a }}{{ b }}{% endwith %}""",
    "json": """{% for m in messages %}{{ m | tojson }}{{ m | tojson(indent=2) }}{% endfor %}{{ tools | default([]) | tojson }}""",
}
SNIPPETS = """{{ 1 + 2 * 3 ** 2 // 4 % 5 }}|{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 10 ** 15 * 1.0 }} {{ 1e16 }}
{{ 'a' ~ 1 ~ none ~ true ~ [1, 'x', none] ~ {'k': (1,)} }}
{{ "it's" | list }} {{ ['a"b', "c'd", 'é\\n'] }}
{{ 'Hello World'[1:8:2] }} {{ 'héllo'[::-1] }} {{ [1,2,3,4][-2:] }} {{ (1,2,3)[:-1] }} {{ 'abc'[5:] }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' in 'cab' }} {{ 2 not in [1, 2] }} {{ 'k' in {'k': 1} }} {{ not 1 == 2 }}
{{ x }} {{ x is defined }} {{ x | default('d') }} {{ x or 'y' }} {{ none or 'z' }} {{ '' and 1 }}
{{ x.y }}
{{ x + 1 }}
{{ 'a' + 1 }}
{{ [] | first }} {{ [1,2] | last }} {{ 'abc' | first }}
{{ ' a b ' | trim }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a b c'.split(' ', 1) }}|{{ 'a b c'.rsplit(' ', 1) }}
{{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('bc') }} {{ 'abcabc'.replace('b', 'X', 1) }} {{ 'abc'.find('c') }} {{ 'aXbX'.count('X') }}
{{ 'hello world'.title() }} {{ 'hello-world foo' | title }} {{ 'hELLO' | capitalize }} {{ 'ßé' | upper }} {{ 'ÀÉ'.lower() }}
{{ 'ΑΣ ΑΣΑ Σ ΌΔΟΣ.' | lower }} {{ 'İIıi ŒœŸÿ ǅǆ ŉ ﬃ ΐ' | upper }} {{ 'İIıi ŒœŸÿ ǅǆ ŉ ﬃ ΐ'.lower() }} {{ 'ǆabc ﬃx ΌΔΟΣ ოქრო ᏣᎳᎩ 𐐨𐐀' | capitalize }}
{{ "they're ǆabc ﬃx ΌΔΟΣ Ⴀⴀ ꭰ 𐐨𐐀 x1y2".title() }} {{ "they're ǆabc-ﬃx (ΌΔΟΣ [a<b{c" | title }} {{ 'Ⅷⅷ'.isupper() }} {{ 'ǅ'.isupper() }} {{ '²٣'.isdigit() }} {{ '½中a'.isalnum() }} {{ '中ა'.isalpha() }} {{ '\u2003\u3000'.isspace() }}
{{ [3,1,2] | sort }} {{ ['b','A','c'] | sort }} {{ [3,1,2] | sort(reverse=true) }} {{ [1,1,2] | unique | list }} {{ [1,2,3] | sum }} {{ [1,5,2] | max }}
{{ [{'a':2},{'a':1}] | sort(attribute='a') | map(attribute='a') | join('-') }} {{ [1,2,3,4] | select('odd') | list }} {{ [1,2,3] | reject('gt', 1) | list }}
{{ [{'r':'u','t':1},{'r':'s'}] | selectattr('r', 'equalto', 'u') | list | length }} {{ [{'a':1},{}] | selectattr('a', 'defined') | list }}
{{ {'b':1,'a':2} | dictsort }} {{ {'b':1}.items() | list }} {{ {'a':1}.get('b', 9) }} {{ {'a': 1}.keys() | list }}
{{ {'a': 1}['a'] }} {{ {'a': 1}.a }} {{ {'items': 5}['items'] }}
{{ '%s is %d and %.2f' | format('a', 3, 2.5) }} {{ '%5s|%-5s|' % ('a', 'b') }}
{{ 3.7 | int }} {{ '42' | int }} {{ 'x' | int(7) }} {{ '1.5' | float }} {{ 2.5 | round }} {{ 2.567 | round(2) }} {{ -3 | abs }} {{ 7 | string | length }}
{{ 'a\\nb\\n\\nc' | indent(2) }}|{{ 'a\\nb' | indent(2, true) }}
{{ [1,2,3,4,5] | batch(2) | list }} {{ 'abc' | reverse }} {{ [1,2] | reverse | list }} {{ 'a b c' | wordcount }}
{{ '<a & "b">' | e }} {{ {'a': '<é>', 'b': [1, 2.0, none, true]} | tojson }} {{ 'é' | tojson(ensure_ascii=true) }} {{ {'b':1,'a':2} | tojson(sort_keys=true) }} {{ [1,2] | tojson(separators=(',', ':')) }}
{{ 1 if false }}|{{ 1 if false else 2 }}|{{ 'a' if x is defined else 'b' if true else 'c' }}
{% set a, b = 1, [2, 3] %}{{ a }}{{ b }}{% for k, v in {'x': 1}.items() %}{{ k }}{{ v }}{% endfor %}
{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}
{% set n = 0 %}{% for i in range(3) %}{% set n = n + 1 %}{% endfor %}{{ n }}
{% for i in [1,2,3] recursive %}{{ i }}{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}
{% for i in [1, [2, [3]]] recursive %}{{ loop(i) if i is iterable else i }}{% endfor %}
{% raw %}{{ x }}{% endraw %} {#- gone -#} y
{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}{{ m(1, 2, 3, z=4) }}
{{ [1,2,3] is sequence }} {{ {} is mapping }} {{ 'a' is string }} {{ 1 is number }} {{ true is boolean }} {{ none is none }} {{ 4 is divisibleby 2 }} {{ 3 is odd }} {{ 1 is eq 1 }} {{ 'a' is in ['a'] }} {{ 1.0 is float }} {{ true is integer }}
{{ 'a'.__class__ }}
{{ [1].append(2) }}
{{ {'a': 1}.update({}) }}
{{ range(3) | list }} {{ dict(a=1).a }} {{ 'x' * 3 }} {{ [0] * 2 }} {{ 2 * 'ab' }}
{{ undefined_function() }}
{{ raise_exception('stop here') }}
{{ strftime_now('%Y-%m-%d') }}
{{ 'a' | nofilter }}
{{ 1 is notest }}
{% if %}
{% for %}
{{ 'unclosed }}
{{ (1 }}
{% endfor %}
{{ 'tab\\tquote\\'x' }} {{ "a" "b" }} {{ 1_000 }} {{ [1, 2,] }} {{ {'a': 1,} }}
{{ [[1, 2], [3, 4]] | map('sum') | list }} {{ ['a', 'b'] | map('upper') | join }} {{ 'abc' | list | join('.') }}
{{ true + 1 }} {{ 1 == true }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ [1] + [2] }} {{ (1,) + (2,) }}
{{ 10 is gt 5 and 3 is lt 4 or false }} {{ not none is none }} {{ x is not defined }} {{ 5 is not none }}""".split("\n")


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(format):
    import datetime

    return datetime.datetime(2026, 3, 4, 5, 6, 7).strftime(format)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def conversations():
    user = lambda text: {"role": "user", "content": text}
    said = lambda text, **more: {"role": "assistant", "content": text, **more}
    system = {"role": "system", "content": "  You are terse. \n"}
    call = {"type": "function", "id": "c1", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": [1, 2]}}}
    call_text = {"type": "function", "id": "c2", "function": {"name": "now", "arguments": '{"zone": "UTC"}'}}
    tool = lambda text: {"role": "tool", "content": text, "tool_call_id": "c1"}
    tools = [{"type": "function", "function": {"name": "weather", "description": "Weather <of> a 'city'", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
    yield {"messages": [user("Hi")]}
    yield {"messages": [system, user("What is the capital of France?")]}
    yield {"messages": [user("a"), said("b"), user("  c {{ x }} {% if %} \n")]}
    yield {"messages": [system, user("a"), said("<think>\nhm\n</think>\n\nb"), user("c"), said("d", reasoning_content="because\n"), user("é 漢字 🙂")]}
    yield {"messages": [user("weather?"), said("", tool_calls=[call]), tool("sunny"), tool("42"), said("It is sunny.")], "tools": tools}
    yield {"messages": [system, user("weather?"), said("Let me see.", tool_calls=[call, call_text]), tool("rain"), user("thanks")], "tools": tools}
    yield {"messages": [user([{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}])]}
    yield {"messages": [user(""), said(""), user("x" * 40)]}
    yield {"messages": [said("starts wrong"), said("and goes on")]}
    yield {"messages": [user("q"), said("<think>open")], "enable_thinking": False}


def main():
    env = environment()
    templates = dict(STYLES)
    if len(sys.argv) > 1:
        templates["qwen3"] = json.loads(pathlib.Path(sys.argv[1]).read_text())["chat_template"]
    vectors = []

    def add(template, variables):
        try:
            text = env.from_string(sources[template]).render(**variables)
        except Exception:
            text = None
        vectors.append([template, variables_of(variables), text])

    contexts, sources = [], []

    def variables_of(variables):
        if variables not in contexts:
            contexts.append(variables)
        return contexts.index(variables)

    for source in templates.values():
        sources.append(source)
        for conversation in conversations():
            for adds in (True, False):
                add(len(sources) - 1, {**conversation, "add_generation_prompt": adds, "bos_token": "<s>", "eos_token": "</s>"})
    for snippet in SNIPPETS:
        sources.append(snippet)
        add(len(sources) - 1, {})
    out = pathlib.Path(__file__).with_name("templates.json")
    out.write_text(json.dumps({"sources": sources, "contexts": contexts, "vectors": vectors}, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(vectors)} vectors, {len(templates)} chat templates, {len(SNIPPETS)} snippets, {sum(v[2] is None for v in vectors)} that fail")


if __name__ == "__main__":
    main()

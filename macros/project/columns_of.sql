{# Columns of one relation in a select: columns_of('calls', ['a', 'b']) is `calls.a, calls.b`. #}
{% macro columns_of(relation, names) -%}
    {%- for name in names -%}
        {{ relation }}.{{ name }}{{ ',\n        ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# Columns of a part of a union: the values that it has, and null for the others. `types` has the type of each. #}
{% macro values_or_nulls(types, values) -%}
    {%- for name, type in types.items() -%}
        {%- set value = values.get(name, 'cast(null as ' ~ type ~ ')') -%}
        {{ value if value == name else value ~ ' as ' ~ name }}{{ ',\n        ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{# Columns of one relation in a select: columns_of('calls', ['a', 'b']) is `calls.a, calls.b`. #}
{% macro columns_of(relation, names) -%}
    {%- for name in names -%}
        {{ relation }}.{{ name }}{{ ',\n        ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

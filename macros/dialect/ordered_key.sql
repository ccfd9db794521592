{# Text that orders by (unix seconds, key): a maximum over two columns, which the engines spell differently.
   11 digits hold every time that landing accepts. Take the key back with key_of(). #}
{% macro ordered_key(seconds, key) -%}
    lpad(cast({{ seconds }} as {{ dbt.type_string() }}), 11, '0') || {{ key }}
{%- endmacro %}

{% macro key_of(ordered_key) -%}
    substr({{ ordered_key }}, 12)
{%- endmacro %}

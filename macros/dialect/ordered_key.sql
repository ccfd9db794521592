{# Text that sorts by (unix seconds, key), for a minimum over two columns, which the engines write differently. 11
   digits hold every time that landing accepts. #}
{% macro ordered_key(seconds, key) -%}
    lpad(cast({{ seconds }} as {{ dbt.type_string() }}), 11, '0') || {{ key }}
{%- endmacro %}

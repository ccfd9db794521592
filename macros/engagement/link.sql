{# A link without query string and fragment, which may name a person or a campaign. #}
{% macro link_without_query(href) -%}
    split_part(split_part({{ href }}, '?', 1), '#', 1)
{%- endmacro %}

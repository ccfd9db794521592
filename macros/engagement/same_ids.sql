{# Whether two relations have the same ids; nulls are equal. #}
{% macro same_ids(left_relation, right_relation) -%}
    {%- for id in ['journey_id', 'action_id', 'parent_action_id', 'campaign_id'] -%}
        ({{ left_relation }}.{{ id }} is not distinct from {{ right_relation }}.{{ id }})
        {%- if not loop.last %} and {% endif %}
    {%- endfor -%}
{%- endmacro %}

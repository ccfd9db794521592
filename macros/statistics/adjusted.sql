{# p values adjusted for how many comparisons are made at once, in two steps, because a window function cannot hold
   another. `family` and `key` are columns: what is compared at once, and what orders equal p values. Nulls are no
   comparisons and stay null. #}

{# Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6: keeps
   the risk of one false claim among all. First step. #}
{% macro holm_step(p, family, key) -%}
    {{ p }} * (
            count({{ p }}) over (partition by {{ family }}) + 1
            - row_number() over (partition by {{ family }} order by {{ p }} nulls last, {{ key }})
        )
{%- endmacro %}


{# Second step, over the first one's column. #}
{% macro holm_adjusted(step, p, family, key) -%}
    case
            when {{ p }} is not null
                then least(1, max({{ step }}) over (
                    partition by {{ family }} order by {{ p }} nulls last, {{ key }}
                    rows between unbounded preceding and current row
                ))
        end
{%- endmacro %}


{# Benjamini and Hochberg (1995), "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57:
   keeps the share of false claims among all claims. First step. #}
{% macro false_discovery_step(p, family, key) -%}
    {{ p }} * count({{ p }}) over (partition by {{ family }})
            / row_number() over (partition by {{ family }} order by {{ p }} nulls last, {{ key }})
{%- endmacro %}


{# Second step, over the first one's column. #}
{% macro false_discovery_adjusted(step, p, family, key) -%}
    case
            when {{ p }} is not null
                then least(1, min({{ step }}) over (
                    partition by {{ family }} order by {{ p }} nulls last, {{ key }}
                    rows between current row and unbounded following
                ))
        end
{%- endmacro %}

{# Intervals and p values that hold at every look, however often somebody looks: the normal mixture boundary of Robbins
   (1970), "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41, in
   the asymptotic form of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and
   asymptotic confidence sequences", Annals of Statistics 52. 5000, the tuning, is the number of sends of two equal arms
   at which the interval is narrowest; any other number would be as right. #}

{# How far a comparison has come, from its information. The factor is 4 * C / 5000, C = c + ln(1 + c), c = 2 ln(20). #}
{% macro anytime_clock(w, design_effect) -%}
    ({{ w }} * 0.006348923681390052 / {{ design_effect }})
{%- endmacro %}


{# By how many standard errors the anytime 95 % interval reaches to each side; null without information. #}
{% macro anytime_multiplier(clock) -%}
    case when {{ clock }} > 0 then sqrt((1 + 1 / {{ clock }}) * (ln(1 + {{ clock }}) + 5.991464547107982)) end
{%- endmacro %}


{# At most 0.05 exactly where the anytime interval excludes no effect. The exponent is computed first, because its
   factors may each be too large or too small for a double. #}
{% macro anytime_p(z, clock) -%}
    case
            when {{ clock }} > 0 and {{ z }} is not null
                then exp(least(
                    0, 0.5 * ln(1 + {{ clock }}) - 0.5 * {{ z }} * {{ z }} * {{ clock }} / (1 + {{ clock }})
                ))
        end
{%- endmacro %}


{# A bound of the anytime 95 % interval of the lift. `side` is - or +. #}
{% macro anytime_lift_bound(log_ratio, error, clock, side) -%}
    {{ lift_of(log_ratio ~ ' ' ~ side ~ ' ' ~ anytime_multiplier(clock) ~ ' * ' ~ error) }}
{%- endmacro %}


{# Whether the traffic was split as planned: z of `found` units in an arm, of `total`, that was to have the `share`. #}
{% macro sample_ratio_z(found, total, share) -%}
    ({{ found }} - {{ share }} * {{ total }}) / sqrt({{ total }} * {{ share }} * (1 - {{ share }}))
{%- endmacro %}


{# Its clock, for anytime_p(). #}
{% macro sample_ratio_clock(total, share) -%}
    {{ anytime_clock(total ~ ' * ' ~ share ~ ' * (1 - ' ~ share ~ ')', '1') }}
{%- endmacro %}
